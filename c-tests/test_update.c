/*
 * Updates as C sees them: the record that a callback or pm_update_begin hands out, and its texts.
 * What the operations mean is in tests/meaning/update.rs.
 */
#include "test.h"

#include <stdint.h>
#include <string.h>

static pm_store *store;
static unsigned calls;

/* A store with "base" (activated, of 4096 bytes) and "other" in it. */
static void open_pool(void) {
    store = open_new("pool.db");
    add(store, "base");
    add(store, "other");
    calls = 0;
}

/* Fails unless "base" is as it was added. */
static void check_unchanged(void) {
    pm_device *device = NULL;
    OK(pm_get_device(store, PM_LIT("base"), &device, why()));
    CHECK(device->device_id == 1 && device->generation == 1 && device->size == 4096);
    CHECK(device->state == PM_STATE_ACTIVATED);
    CHECK(device->parent_name_len == 0 && device->error_len == 0);
    pm_free(device);
}

static int32_t change_all(pm_device *device, void *user_data) {
    CHECK_TEXT("base", device->name, device->name_len);
    CHECK_INT(sizeof(pm_device), device->struct_size);
    CHECK(device->device_id == 1 && device->generation == 1 && device->size == 4096);
    CHECK(device->parent_name[0] == '\0' && device->error[0] == '\0');
    CHECK(user_data == &calls);
    calls++;
    device->size = 8192;
    device->state = PM_STATE_SUSPENDED;
    /* Static memory lives until the update returns. */
    device->parent_name = "parent";
    device->parent_name_len = 6;
    device->error = "text";
    device->error_len = 4;
    return 0;
}

static void callback_changes_the_record(void) {
    pm_device *device = NULL;
    open_pool();
    OK(pm_update_device(store, PM_LIT("base"), change_all, &calls, why()));
    CHECK_INT(1, calls);
    OK(pm_get_device(store, PM_LIT("base"), &device, why()));
    CHECK(device->size == 8192 && device->state == PM_STATE_SUSPENDED && device->generation == 3);
    CHECK_TEXT("parent", device->parent_name, device->parent_name_len);
    CHECK_TEXT("text", device->error, device->error_len);
    pm_free(device);
    close_store(store);
}

static int32_t change_and_fail(pm_device *device, void *code) {
    device->size = 1;
    device->name = "x";
    device->error = "never written";
    device->error_len = 13;
    return *(int32_t *)code;
}

static void code_of_a_failing_callback_is_reported(void) {
    static const int32_t codes[] = { 1, PM_ERR_CALLBACK, INT32_MAX, INT32_MIN };
    size_t i;
    open_pool();
    for (i = 0; i < COUNT(codes); i++) {
        int32_t code = codes[i];
        FAILS(PM_ERR_CALLBACK,
              pm_update_device(store, PM_LIT("base"), change_and_fail, &code, why()));
        CHECK_INT(code, told()->callback_code);
        FAILS(PM_ERR_CALLBACK,
              pm_update_device(store, PM_LIT("base"), change_and_fail, &code, NULL));
    }
    check_unchanged();
    close_store(store);
}

/* What a callback, or a caller that has begun an update, can do to the struct. */
enum wrong { CUT_NAME, NO_NAME, CHANGE_ID, BAD_STATE, LONG_TEXT, NULL_TEXT };

static int32_t do_wrong(pm_device *device, void *what) {
    static char text[PM_MAX_ERROR_LEN + 1];
    switch (*(enum wrong *)what) {
    case CUT_NAME:
        device->name_len = 2;
        break;
    case NO_NAME:
        device->name_len = 0;
        break;
    case CHANGE_ID:
        device->device_id = 77;
        break;
    case BAD_STATE:
        device->state = 14;
        break;
    case LONG_TEXT:
        device->error = text;
        device->error_len = sizeof text;
        break;
    case NULL_TEXT:
        device->error = NULL;
        device->error_len = 1;
        break;
    }
    return 0;
}

static const struct {
    enum wrong what;
    int32_t code;
    const char *words[2];
} wrongs[] = {
    { CUT_NAME, PM_ERR_IDENTITY_CHANGED, { "\"base\"", "\"ba\"" } },
    { NO_NAME, PM_ERR_IDENTITY_CHANGED, { "\"base\"", "\"\"" } },
    { CHANGE_ID, PM_ERR_IDENTITY_CHANGED, { "id 1 ", "77" } },
    { BAD_STATE, PM_ERR_INVALID_STATE, { "14", "state" } },
    { LONG_TEXT, PM_ERR_TOO_LONG, { "1048577", "\"base\"" } },
    { NULL_TEXT, PM_ERR_INVALID_ARGUMENT, { "error", "NULL" } },
};

static void struct_that_cannot_be_written_is_refused(void) {
    size_t i;
    open_pool();
    for (i = 0; i < COUNT(wrongs); i++) {
        enum wrong what = wrongs[i].what;
        pm_update *update = NULL;
        pm_device *device = NULL;
        FAILS(wrongs[i].code, pm_update_device(store, PM_LIT("base"), do_wrong, &what, why()));
        CHECK(strstr(told()->message, wrongs[i].words[0]) != NULL);
        CHECK(strstr(told()->message, wrongs[i].words[1]) != NULL);
        OK(pm_update_begin(store, PM_LIT("base"), &update, &device, why()));
        do_wrong(device, &what);
        /* The update ends with the refusal, so the next round begins another. */
        FAILS(wrongs[i].code, pm_update_commit(update, why()));
        check_unchanged();
    }
    close_store(store);
}

static void texts_that_are_set_are_copied(void) {
    pm_update *update = NULL;
    pm_device *device = NULL;
    pm_device *found = NULL;
    char text[] = "short-lived";
    open_pool();
    OK(pm_update_begin(store, PM_LIT("base"), &update, &device, why()));
    CHECK_TEXT("base", device->name, device->name_len);
    CHECK(device->owner != NULL && device->struct_size == sizeof(pm_device));
    OK(pm_device_set_error(device, text, strlen(text), why()));
    OK(pm_device_set_parent_name(device, text, strlen(text), why()));
    memset(text, 'x', sizeof text - 1);
    CHECK_TEXT("short-lived\0", device->error, device->error_len + 1);
    /* A text may be set more than once, and from itself. */
    OK(pm_device_set_parent_name(device, PM_LIT("root"), why()));
    OK(pm_device_set_error(device, device->error, 5, why()));
    OK(pm_update_commit(update, why()));
    OK(pm_get_device(store, PM_LIT("base"), &found, why()));
    CHECK_TEXT("short", found->error, found->error_len);
    CHECK_TEXT("root", found->parent_name, found->parent_name_len);
    pm_free(found);
    /* A length of zero takes it away. */
    OK(pm_update_begin(store, PM_LIT("base"), &update, &device, why()));
    OK(pm_device_set_error(device, NULL, 0, why()));
    OK(pm_device_set_parent_name(device, PM_LIT(""), why()));
    OK(pm_update_commit(update, why()));
    OK(pm_get_device(store, PM_LIT("base"), &found, why()));
    CHECK(found->error_len == 0 && found->parent_name_len == 0 && found->generation == 4);
    pm_free(found);
    pm_update_abort(NULL);
    close_store(store);
}

static void text_that_cannot_be_set_leaves_the_one_before(void) {
    static char text[PM_MAX_ERROR_LEN + 1];
    pm_update *update = NULL;
    pm_device *device = NULL;
    pm_device *found = NULL;
    memset(text, 'p', sizeof text);
    open_pool();
    OK(pm_update_begin(store, PM_LIT("base"), &update, &device, why()));
    OK(pm_device_set_error(device, PM_LIT("kept"), why()));
    FAILS(PM_ERR_TOO_LONG, pm_device_set_error(device, text, sizeof text, why()));
    FAILS(PM_ERR_INVALID_ARGUMENT, pm_device_set_error(device, NULL, 1, why()));
    FAILS(PM_ERR_INVALID_ARGUMENT, pm_device_set_error(device, text, SIZE_MAX, why()));
    CHECK_TEXT("kept", device->error, device->error_len);
    OK(pm_device_set_parent_name(device, text, PM_MAX_NAME_LEN, why()));
    FAILS(PM_ERR_INVALID_NAME,
          pm_device_set_parent_name(device, text, PM_MAX_NAME_LEN + 1, why()));
    CHECK(strstr(told()->message, "parent name") != NULL);
    FAILS(PM_ERR_INVALID_NAME, pm_device_set_parent_name(device, "a\0b", 3, why()));
    FAILS(PM_ERR_INVALID_ARGUMENT, pm_device_set_parent_name(device, text, SIZE_MAX, why()));
    CHECK_BYTES(text, PM_MAX_NAME_LEN, device->parent_name, device->parent_name_len);
    OK(pm_device_set_error(device, text, PM_MAX_ERROR_LEN, why()));
    OK(pm_update_commit(update, why()));
    OK(pm_get_device(store, PM_LIT("base"), &found, why()));
    CHECK_BYTES(text, PM_MAX_ERROR_LEN, found->error, found->error_len);
    CHECK_INT('\0', found->error[found->error_len]);
    pm_free(found);
    close_store(store);
}

static void texts_are_set_only_on_the_record_of_an_update(void) {
    pm_device own = device_named("base");
    pm_device before = own;
    pm_device *found = NULL;
    open_pool();
    FAILS(PM_ERR_INVALID_ARGUMENT, pm_device_set_error(&own, PM_LIT("x"), why()));
    FAILS(PM_ERR_INVALID_ARGUMENT, pm_device_set_parent_name(&own, PM_LIT("x"), why()));
    CHECK_BYTES(&before, sizeof before, &own, sizeof own);
    OK(pm_get_device(store, PM_LIT("base"), &found, why()));
    FAILS(PM_ERR_INVALID_ARGUMENT, pm_device_set_error(found, PM_LIT("x"), why()));
    pm_free(found);
    close_store(store);
}

static void record_of_an_update_outlives_its_store(void) {
    pm_update *update = NULL;
    pm_update *dropped = NULL;
    pm_device *device = NULL;
    open_pool();
    OK(pm_update_begin(store, PM_LIT("base"), &update, &device, why()));
    OK(pm_update_begin(store, PM_LIT("other"), &dropped, &device, why()));
    OK(pm_close(store, why()));
    CHECK_TEXT("other", device->name, device->name_len);
    OK(pm_device_set_error(device, PM_LIT("late"), why()));
    FAILS(PM_ERR_CLOSED, pm_update_commit(update, why()));
    pm_update_abort(dropped);
}

static int32_t write_inside(pm_device *device, void *unused) {
    pm_device *record = UNTOUCHED;
    pm_update *update = UNTOUCHED;
    (void)unused;
    FAILS(PM_ERR_NESTED_WRITE, pm_remove_device(store, PM_LIT("other"), why()));
    FAILS(PM_ERR_NESTED_WRITE, pm_update_begin(store, PM_LIT("other"), &update, &record, why()));
    CHECK(record == UNTOUCHED && update == UNTOUCHED);
    CHECK_INT(PM_STATE_ACTIVATED, state_of(store, "base"));
    device->state = PM_STATE_SUSPENDED;
    return 0;
}

static void write_inside_a_callback_is_refused(void) {
    open_pool();
    OK(pm_update_device(store, PM_LIT("base"), write_inside, NULL, why()));
    CHECK_INT(PM_STATE_SUSPENDED, state_of(store, "base"));
    close_store(store);
}

static const struct test tests[] = {
    NAMED(callback_changes_the_record),
    NAMED(code_of_a_failing_callback_is_reported),
    NAMED(struct_that_cannot_be_written_is_refused),
    NAMED(texts_that_are_set_are_copied),
    NAMED(text_that_cannot_be_set_leaves_the_one_before),
    NAMED(texts_are_set_only_on_the_record_of_an_update),
    NAMED(record_of_an_update_outlives_its_store),
    NAMED(write_inside_a_callback_is_refused),
};
TEST_MAIN(tests)
