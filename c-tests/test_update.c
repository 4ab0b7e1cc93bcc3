/* Updates: with a callback, and in two phases. */
#include "test.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static pm_store *store;
static unsigned calls;

/* A store with "base" (activated, of 4096 bytes) and "other" in it. */
static void open_pool(unsigned lock_wait_ms) {
    store = open_with(place("pool.db"), lock_wait_ms);
    add(store, "base");
    add(store, "other");
    calls = 0;
}

/* Fails unless "base" is as it was added. */
static void check_unchanged(void) {
    pm_device *device = NULL;
    OK(pm_get_device(store, PM_LIT("base"), &device, why()));
    CHECK(device->device_id == 1 && device->generation == 1 && device->size == 4096);
    CHECK(device->state == PM_STATE_ACTIVATED && device->parent_name_len == 0 && device->error_len == 0);
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
    device->generation = 12345; /* ignored */
    /* Static memory lives until the update returns. */
    device->parent_name = "parent";
    device->parent_name_len = 6;
    device->error = "text";
    device->error_len = 4;
    return 0;
}

static void a_callback_changes_the_record(void) {
    pm_device *device = NULL;
    open_pool(0);
    OK(pm_update_device(store, PM_LIT("base"), change_all, &calls, why()));
    CHECK_INT(1, calls);
    OK(pm_get_device(store, PM_LIT("base"), &device, why()));
    CHECK(device->size == 8192 && device->state == PM_STATE_SUSPENDED && device->generation == 3);
    CHECK_TEXT("parent", device->parent_name, device->parent_name_len);
    CHECK_TEXT("text", device->error, device->error_len);
    pm_free(device);
    close_store(store);
}

static int32_t count_only(pm_device *device, void *unused) {
    (void)device;
    (void)unused;
    calls++;
    return 0;
}

static void what_is_not_there_calls_nobody(void) {
    open_pool(0);
    FAILS(PM_ERR_NOT_FOUND, pm_update_device(store, PM_LIT("none"), count_only, NULL, why()));
    FAILS(PM_ERR_NOT_FOUND, pm_update_device(store, PM_LIT(""), count_only, NULL, why()));
    FAILS(PM_ERR_NOT_FOUND, pm_update_device(store, NULL, 0, count_only, NULL, why()));
    CHECK_INT(0, calls);
    /* One that changes nothing is still a write. */
    OK(pm_update_device(store, PM_LIT("base"), count_only, NULL, why()));
    CHECK_INT(1, calls);
    close_store(store);
}

static int32_t change_and_fail(pm_device *device, void *code) {
    calls++;
    device->size = 1;
    device->state = PM_STATE_FAULTY;
    device->name = "x";
    device->name_len = 1;
    device->error = "never written";
    device->error_len = 13;
    return *(int32_t *)code;
}

static void a_callback_that_fails_writes_nothing(void) {
    static const int32_t codes[] = { 1, -1, 5, PM_ERR_CALLBACK, PM_ERR_NOT_FOUND, -4711, INT32_MAX, INT32_MIN };
    unsigned i;
    open_pool(0);
    for (i = 0; i < COUNT(codes); i++) {
        int32_t code = codes[i];
        FAILS(PM_ERR_CALLBACK, pm_update_device(store, PM_LIT("base"), change_and_fail, &code, why()));
        CHECK_INT(code, told()->callback_code);
        CHECK_INT(i + 1, calls);
        FAILS(PM_ERR_CALLBACK, pm_update_device(store, PM_LIT("base"), change_and_fail, &code, NULL));
        calls--;
    }
    check_unchanged();
    OK(pm_change_device_state(store, PM_LIT("base"), PM_STATE_REMOVED, why())); /* its lock is free */
    close_store(store);
}

/* What a callback, or who has begun an update, can do wrong; and what comes of it. */
enum wrong { RENAME, CUT_NAME, NO_NAME, CHANGE_ID, BAD_STATE, LONG_PARENT, NUL_PARENT, LONG_TEXT, NULL_TEXT };

static int32_t do_wrong(pm_device *device, void *what) {
    static char text[PM_MAX_ERROR_LEN + 1];
    static const char *new_name = "other";
    device->size = 1;
    switch (*(enum wrong *)what) {
    case RENAME:
        device->name = new_name;
        device->name_len = 5;
        break;
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
    case LONG_PARENT:
        device->parent_name = text;
        device->parent_name_len = 512;
        memset(text, 'p', 512);
        break;
    case NUL_PARENT:
        device->parent_name = "a\0b";
        device->parent_name_len = 3;
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
    { RENAME, PM_ERR_IDENTITY_CHANGED, { "\"base\"", "\"other\"" } },
    { CUT_NAME, PM_ERR_IDENTITY_CHANGED, { "\"base\"", "\"ba\"" } },
    { NO_NAME, PM_ERR_IDENTITY_CHANGED, { "\"base\"", "\"\"" } },
    { CHANGE_ID, PM_ERR_IDENTITY_CHANGED, { "id 1 ", "77" } },
    { BAD_STATE, PM_ERR_INVALID_STATE, { "14", "state" } },
    { LONG_PARENT, PM_ERR_INVALID_NAME, { "parent", "511" } },
    { NUL_PARENT, PM_ERR_INVALID_NAME, { "parent", "NUL" } },
    { LONG_TEXT, PM_ERR_TOO_LONG, { "1048577", "\"base\"" } },
    { NULL_TEXT, PM_ERR_INVALID_ARGUMENT, { "error", "NULL" } },
};

static void changes_that_cannot_be(void) {
    size_t i;
    open_pool(0);
    for (i = 0; i < COUNT(wrongs); i++) {
        enum wrong what = wrongs[i].what;
        pm_update *update = NULL;
        pm_device *device = NULL;
        FAILS(wrongs[i].code, pm_update_device(store, PM_LIT("base"), do_wrong, &what, why()));
        CHECK(strstr(told()->message, wrongs[i].words[0]) != NULL);
        CHECK(strstr(told()->message, wrongs[i].words[1]) != NULL);
        OK(pm_update_begin(store, PM_LIT("base"), &update, &device, why()));
        do_wrong(device, &what);
        /* The update is over, and its lock free: the next round begins another. */
        FAILS(wrongs[i].code, pm_update_commit(update, why()));
        check_unchanged();
    }
    close_store(store);
}

static int32_t whole_text(pm_device *device, void *text) {
    return pm_device_set_error(device, text, PM_MAX_ERROR_LEN, NULL);
}

static void an_error_text_of_one_mebibyte_is_kept_whole(void) {
    char *text = malloc(PM_MAX_ERROR_LEN);
    pm_device *device = NULL;
    CHECK(text != NULL);
    memset(text, 'e', PM_MAX_ERROR_LEN);
    text[0] = '<';
    text[PM_MAX_ERROR_LEN - 1] = '>';
    open_pool(0);
    OK(pm_update_device(store, PM_LIT("base"), whole_text, text, why()));
    OK(pm_get_device(store, PM_LIT("base"), &device, why()));
    CHECK_BYTES(text, PM_MAX_ERROR_LEN, device->error, device->error_len);
    CHECK_INT('\0', device->error[device->error_len]);
    pm_free(device);
    free(text);
    close_store(store);
}

static void begin_change_commit(void) {
    pm_update *update = NULL;
    pm_device *device = NULL;
    pm_device *found = NULL;
    char text[] = "short-lived";
    open_pool(50);
    OK(pm_update_begin(store, PM_LIT("base"), &update, &device, why()));
    CHECK_TEXT("base", device->name, device->name_len);
    CHECK(device->owner != NULL && device->struct_size == sizeof(pm_device));
    /* The library's copies: what they were made of may change, and may be set more than once. */
    OK(pm_device_set_error(device, text, strlen(text), why()));
    OK(pm_device_set_parent_name(device, text, strlen(text), why()));
    memset(text, 'x', sizeof text - 1);
    CHECK_TEXT("short-lived", device->error, device->error_len);
    CHECK_INT('\0', device->error[device->error_len]);
    OK(pm_device_set_parent_name(device, PM_LIT("root"), why()));
    OK(pm_device_set_error(device, device->error, 5, why())); /* from its own text */
    OK(pm_update_commit(update, why()));
    OK(pm_get_device(store, PM_LIT("base"), &found, why()));
    CHECK_TEXT("short", found->error, found->error_len);
    CHECK_TEXT("root", found->parent_name, found->parent_name_len);
    pm_free(found);
    /* Taken away again. */
    OK(pm_update_begin(store, PM_LIT("base"), &update, &device, why()));
    CHECK_TEXT("short", device->error, device->error_len);
    OK(pm_device_set_error(device, NULL, 0, why()));
    OK(pm_device_set_parent_name(device, PM_LIT(""), why()));
    OK(pm_update_commit(update, why()));
    OK(pm_get_device(store, PM_LIT("base"), &found, why()));
    CHECK(found->error_len == 0 && found->parent_name_len == 0 && found->generation == 4);
    pm_free(found);
    close_store(store);
}

static void setting_texts_has_its_limits(void) {
    static char text[PM_MAX_ERROR_LEN + 1];
    pm_device own = device_named("base");
    pm_device before;
    pm_device *found = NULL;
    pm_update *update = NULL;
    pm_device *device = NULL;
    open_pool(0);
    own.error = "mine";
    own.error_len = 4;
    before = own;
    FAILS(PM_ERR_INVALID_ARGUMENT, pm_device_set_error(&own, PM_LIT("x"), why()));
    FAILS(PM_ERR_INVALID_ARGUMENT, pm_device_set_parent_name(&own, PM_LIT("x"), why()));
    CHECK_BYTES(&before, sizeof before, &own, sizeof own);
    OK(pm_get_device(store, PM_LIT("base"), &found, why()));
    FAILS(PM_ERR_INVALID_ARGUMENT, pm_device_set_error(found, PM_LIT("x"), why()));
    pm_free(found);
    OK(pm_update_begin(store, PM_LIT("base"), &update, &device, why()));
    OK(pm_device_set_error(device, PM_LIT("kept"), why()));
    FAILS(PM_ERR_TOO_LONG, pm_device_set_error(device, text, sizeof text, why()));
    FAILS(PM_ERR_INVALID_ARGUMENT, pm_device_set_error(device, NULL, 1, why()));
    FAILS(PM_ERR_INVALID_ARGUMENT, pm_device_set_error(device, text, SIZE_MAX, why()));
    FAILS(PM_ERR_INVALID_ARGUMENT, pm_device_set_parent_name(device, text, SIZE_MAX, why()));
    CHECK_TEXT("kept", device->error, device->error_len);
    OK(pm_device_set_error(device, text, PM_MAX_ERROR_LEN, why()));
    pm_update_abort(update);
    check_unchanged();
    close_store(store);
}

static void abort_writes_nothing_and_frees_the_device(void) {
    pm_update *update = NULL;
    pm_device *device = NULL;
    open_pool(50);
    OK(pm_update_begin(store, PM_LIT("base"), &update, &device, why()));
    device->size = 1;
    pm_update_abort(update);
    pm_update_abort(NULL);
    check_unchanged();
    OK(pm_update_begin(store, PM_LIT("base"), &update, &device, why()));
    pm_update_abort(update);
    close_store(store);
}

static void an_update_holds_up_its_device_and_no_other(void) {
    pm_update *first = NULL;
    pm_update *second = UNTOUCHED;
    pm_device *device = NULL;
    pm_device *record = UNTOUCHED;
    pm_device again = device_named("base");
    double start;
    open_pool(30);
    OK(pm_update_begin(store, PM_LIT("base"), &first, &device, why()));
    device->state = PM_STATE_CREATED;
    start = seconds();
    FAILS(PM_ERR_TIMEOUT, pm_update_begin(store, PM_LIT("base"), &second, &record, why()));
    CHECK(strstr(told()->message, "\"base\"") != NULL && strstr(told()->message, "30 ms") != NULL);
    CHECK(seconds() - start >= 0.02 && seconds() - start < 5);
    CHECK(second == UNTOUCHED && record == UNTOUCHED);
    FAILS(PM_ERR_TIMEOUT, pm_update_device(store, PM_LIT("base"), count_only, NULL, why()));
    FAILS(PM_ERR_TIMEOUT, pm_change_device_state(store, PM_LIT("base"), 1, why()));
    FAILS(PM_ERR_TIMEOUT, pm_mark_faulty(store, PM_LIT("base"), why()));
    FAILS(PM_ERR_TIMEOUT, pm_remove_device(store, PM_LIT("base"), why()));
    FAILS(PM_ERR_TIMEOUT, pm_add_device(store, &again, why()));
    FAILS(PM_ERR_TIMEOUT, apply_one(store, PM_CHANGE_REMOVE, &again, why()));
    CHECK_INT(0, calls);
    check_unchanged();
    OK(pm_change_device_state(store, PM_LIT("other"), 1, why()));
    OK(pm_update_begin(store, PM_LIT("other"), &second, &record, why()));
    OK(pm_update_commit(second, why()));
    OK(pm_update_commit(first, why()));
    CHECK_INT(PM_STATE_CREATED, state_of(store, "base"));
    close_store(store);
}

static void an_update_outlives_its_store_and_fails(void) {
    pm_update *update = NULL;
    pm_update *dropped = NULL;
    pm_device *device = NULL;
    open_pool(0);
    OK(pm_update_begin(store, PM_LIT("base"), &update, &device, why()));
    OK(pm_update_begin(store, PM_LIT("other"), &dropped, &device, why()));
    OK(pm_close(store, why()));
    CHECK_TEXT("other", device->name, device->name_len);
    OK(pm_device_set_error(device, PM_LIT("late"), why()));
    FAILS(PM_ERR_CLOSED, pm_update_commit(update, why()));
    pm_update_abort(dropped);
    store = open_with(place("pool.db"), 0);
    check_unchanged();
    close_store(store);
}

static void *commit_here(void *update) {
    OK(pm_update_commit(update, why()));
    return NULL;
}

static void an_update_ends_in_another_thread(void) {
    pm_update *update = NULL;
    pm_device *device = NULL;
    pthread_t thread;
    open_pool(0);
    OK(pm_update_begin(store, PM_LIT("base"), &update, &device, why()));
    device->state = PM_STATE_REMOVED;
    CHECK(pthread_create(&thread, NULL, commit_here, update) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK_INT(PM_STATE_REMOVED, state_of(store, "base"));
    close_store(store);
}

static int32_t name_seen(const pm_device *device, void *seen) {
    (void)device;
    ++*(unsigned *)seen;
    return 0;
}

/* Everything that a callback may and may not do with its store, and with another one. */
static int32_t inside(pm_device *device, void *another) {
    pm_device new_device = device_named("new");
    pm_device *copy = NULL;
    pm_update *update = UNTOUCHED;
    pm_names *names = NULL;
    pm_walk *walk = NULL;
    pm_stats stats = PM_STATS_INIT;
    pm_ids ids = PM_IDS_INIT;
    unsigned seen = 0;
    (void)device;
    calls++;
    OK(pm_get_device(store, PM_LIT("base"), &copy, why()));
    CHECK(copy->size == 4096);
    pm_free(copy);
    copy = UNTOUCHED;
    OK(pm_get_device_names(store, &names, why()));
    CHECK_INT(2, names->count);
    pm_free(names);
    OK(pm_walk_devices(store, name_seen, &seen, why()));
    CHECK_INT(2, seen);
    OK(pm_walk_open(store, &walk, why()));
    pm_walk_close(walk);
    OK(pm_get_stats(store, &stats, why()));
    OK(pm_verify(store, why()));
    FAILS(PM_ERR_NESTED_WRITE, pm_add_device(store, &new_device, why()));
    FAILS(PM_ERR_NESTED_WRITE, pm_change_device_state(store, PM_LIT("other"), 1, why()));
    FAILS(PM_ERR_NESTED_WRITE, pm_change_device_state(store, PM_LIT("base"), 1, why()));
    FAILS(PM_ERR_NESTED_WRITE, pm_mark_faulty(store, PM_LIT("other"), why()));
    FAILS(PM_ERR_NESTED_WRITE, pm_remove_device(store, PM_LIT("other"), why()));
    FAILS(PM_ERR_NESTED_WRITE, pm_update_device(store, PM_LIT("other"), count_only, NULL, why()));
    FAILS(PM_ERR_NESTED_WRITE, pm_update_begin(store, PM_LIT("other"), &update, &copy, why()));
    FAILS(PM_ERR_NESTED_WRITE, pm_import(store, NULL, 0, &ids, why()));
    FAILS(PM_ERR_NESTED_WRITE, apply_one(store, PM_CHANGE_ADD, &new_device, why()));
    FAILS(PM_ERR_NESTED_WRITE, pm_sync(store, why()));
    FAILS(PM_ERR_NESTED_WRITE, pm_close(store, why()));
    CHECK(copy == UNTOUCHED && update == UNTOUCHED && new_device.device_id == 0);
    OK(pm_update_device(another, PM_LIT("there"), count_only, NULL, why()));
    device->state = PM_STATE_SUSPENDED;
    return 0;
}

static void inside_a_callback_reads_go_on_and_writes_are_refused(void) {
    pm_store *another = open_new("another.db");
    add(another, "there");
    open_pool(0);
    OK(pm_update_device(store, PM_LIT("base"), inside, another, why()));
    CHECK_INT(2, calls);
    CHECK_INT(PM_STATE_SUSPENDED, state_of(store, "base"));
    CHECK_INT(2, device_count(store));
    CHECK_INT(PM_STATE_ACTIVATED, state_of(store, "other"));
    OK(pm_change_device_state(store, PM_LIT("other"), 1, why()));
    close_store(another);
    close_store(store);
}

static void a_parents_name_is_checked_where_it_is_set(void) {
    static char text[PM_MAX_ERROR_LEN + 1];
    pm_update *update = NULL;
    pm_device *device = NULL;
    memset(text, 'p', sizeof text);
    open_pool(0);
    OK(pm_update_begin(store, PM_LIT("base"), &update, &device, why()));
    OK(pm_device_set_parent_name(device, text, PM_MAX_NAME_LEN, why()));
    FAILS(PM_ERR_INVALID_NAME, pm_device_set_parent_name(device, text, PM_MAX_NAME_LEN + 1, why()));
    CHECK(strstr(told()->message, "parent name") != NULL);
    FAILS(PM_ERR_INVALID_NAME, pm_device_set_parent_name(device, text, sizeof text, why()));
    FAILS(PM_ERR_INVALID_NAME, pm_device_set_parent_name(device, "a\0b", 3, why()));
    /* What was set before stays. */
    CHECK_BYTES(text, PM_MAX_NAME_LEN, device->parent_name, device->parent_name_len);
    OK(pm_update_commit(update, why()));
    close_store(store);
}

static const struct test tests[] = {
    NAMED(a_callback_changes_the_record),
    NAMED(what_is_not_there_calls_nobody),
    NAMED(a_callback_that_fails_writes_nothing),
    NAMED(changes_that_cannot_be),
    NAMED(an_error_text_of_one_mebibyte_is_kept_whole),
    NAMED(begin_change_commit),
    NAMED(setting_texts_has_its_limits),
    NAMED(a_parents_name_is_checked_where_it_is_set),
    NAMED(abort_writes_nothing_and_frees_the_device),
    NAMED(an_update_holds_up_its_device_and_no_other),
    NAMED(an_update_outlives_its_store_and_fails),
    NAMED(an_update_ends_in_another_thread),
    NAMED(inside_a_callback_reads_go_on_and_writes_are_refused),
};
TEST_MAIN(tests)
