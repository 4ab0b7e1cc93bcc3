/* pm_error: what a refused call reports, and structs that are not what they should be. */
#include "test.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

static pm_store *store;

static void with_store(void (*run)(void)) {
    store = open_new("pool.db");
    add(store, "base");
    run();
    close_store(store);
}

static void codes_without_a_struct(void) {
    FAILS(PM_ERR_NOT_FOUND, pm_remove_device(store, PM_LIT("none"), NULL));
    OK(pm_mark_faulty(store, PM_LIT("base"), NULL));
}

static void error_struct_is_optional(void) {
    with_store(codes_without_a_struct);
}

/* A call whose error struct is not one does nothing at all. */
static void refuse_sizes(void) {
    static const size_t sizes[] = { 0, 1, 8, offsetof(pm_error, message), 65537, SIZE_MAX };
    size_t i;
    for (i = 0; i < COUNT(sizes); i++) {
        pm_error error;
        pm_error before;
        pm_device device = device_named("new");
        memset(&error, 0x33, sizeof error);
        error.struct_size = sizes[i];
        before = error;
        FAILS(PM_ERR_STRUCT_SIZE, pm_add_device(store, &device, &error));
        FAILS(PM_ERR_STRUCT_SIZE, pm_mark_faulty(store, PM_LIT("base"), &error));
        FAILS(PM_ERR_STRUCT_SIZE, pm_close(store, &error));
        CHECK_BYTES(&before, sizeof before, &error, sizeof error);
        CHECK_INT(0, device.device_id);
    }
    CHECK_INT(1, device_count(store));
    CHECK_INT(PM_STATE_ACTIVATED, state_of(store, "base"));
}

static void impossible_size_of_an_error_struct_changes_nothing(void) {
    with_store(refuse_sizes);
}

/* Every function that takes an error looks at it first. */
static void refuse_everywhere(void) {
    pm_error bad = PM_ERROR_INIT;
    pm_options options = PM_OPTIONS_INIT;
    pm_stats stats = PM_STATS_INIT;
    pm_ids ids = PM_IDS_INIT;
    pm_device device = device_named("new");
    pm_device *record = UNTOUCHED;
    pm_update *update = NULL;
    pm_walk *walk = NULL;
    void *out = UNTOUCHED;
    uint64_t buffer[64];
    size_t count = 77;
    OK(pm_update_begin(store, PM_LIT("base"), &update, &record, why()));
    OK(pm_walk_open(store, &walk, why()));
    bad.struct_size = 8;
    FAILS(PM_ERR_STRUCT_SIZE,
          pm_open(PM_CSTR(place("other.db")), &options, (pm_store **)&out, &bad));
    FAILS(PM_ERR_STRUCT_SIZE, pm_close(store, &bad));
    FAILS(PM_ERR_STRUCT_SIZE, pm_sync(store, &bad));
    FAILS(PM_ERR_STRUCT_SIZE, pm_verify(store, &bad));
    FAILS(PM_ERR_STRUCT_SIZE, pm_get_stats(store, &stats, &bad));
    FAILS(PM_ERR_STRUCT_SIZE, pm_add_device(store, &device, &bad));
    FAILS(PM_ERR_STRUCT_SIZE, pm_get_device(store, PM_LIT("base"), (pm_device **)&out, &bad));
    FAILS(PM_ERR_STRUCT_SIZE,
          pm_read_device(store, PM_LIT("base"), buffer, sizeof buffer, &count, &bad));
    FAILS(PM_ERR_STRUCT_SIZE, pm_change_device_state(store, PM_LIT("base"), 1, &bad));
    FAILS(PM_ERR_STRUCT_SIZE, pm_mark_faulty(store, PM_LIT("base"), &bad));
    FAILS(PM_ERR_STRUCT_SIZE, pm_remove_device(store, PM_LIT("base"), &bad));
    FAILS(PM_ERR_STRUCT_SIZE, pm_update_device(store, PM_LIT("base"), NULL, NULL, &bad));
    FAILS(PM_ERR_STRUCT_SIZE,
          pm_update_begin(store, PM_LIT("base"), (pm_update **)&out, &record, &bad));
    FAILS(PM_ERR_STRUCT_SIZE, pm_device_set_error(record, PM_LIT("x"), &bad));
    FAILS(PM_ERR_STRUCT_SIZE, pm_device_set_parent_name(record, PM_LIT("x"), &bad));
    FAILS(PM_ERR_STRUCT_SIZE, pm_walk_devices(store, NULL, NULL, &bad));
    FAILS(PM_ERR_STRUCT_SIZE, pm_walk_open(store, (pm_walk **)&out, &bad));
    FAILS(PM_ERR_STRUCT_SIZE, pm_walk_next(walk, buffer, sizeof buffer, &count, NULL, &bad));
    FAILS(PM_ERR_STRUCT_SIZE, pm_walk_get_ids(walk, (pm_ids **)&out, &bad));
    FAILS(PM_ERR_STRUCT_SIZE, pm_get_device_names(store, (pm_names **)&out, &bad));
    FAILS(PM_ERR_STRUCT_SIZE, pm_get_running_reads(store, (pm_running_reads **)&out, &bad));
    FAILS(PM_ERR_STRUCT_SIZE, pm_import(store, NULL, 0, &ids, &bad));
    FAILS(PM_ERR_STRUCT_SIZE, apply_one(store, PM_CHANGE_ADD, &device, &bad));
    FAILS(PM_ERR_STRUCT_SIZE, pm_backup(store, PM_CSTR(place("copy.db")), 0, &bad));
    FAILS(PM_ERR_STRUCT_SIZE,
          pm_restore(PM_LIT("none"), PM_LIT("nowhere"), NULL, NULL, (pm_name **)&out, &bad));
    FAILS(PM_ERR_STRUCT_SIZE, pm_compact(PM_LIT("none"), NULL, NULL, NULL, &bad));
    FAILS(PM_ERR_STRUCT_SIZE, pm_check(store, 0, (pm_report **)&out, &bad));
    FAILS(PM_ERR_STRUCT_SIZE, pm_check_file(PM_LIT("none"), NULL, 0, (pm_report **)&out, &bad));
    FAILS(PM_ERR_STRUCT_SIZE,
          pm_salvage(PM_LIT("none"), PM_LIT("new"), NULL, 0, NULL, (pm_report **)&out, &bad));
    FAILS(PM_ERR_STRUCT_SIZE, pm_repair(PM_LIT("none"), NULL, (pm_report **)&out, &bad));
    /* The call that would end the handle has not: the update can still be committed. */
    FAILS(PM_ERR_STRUCT_SIZE, pm_update_commit(update, &bad));
    CHECK(out == UNTOUCHED && count == 77 && stats.devices == 0);
    record->state = PM_STATE_SUSPENDED;
    OK(pm_update_commit(update, why()));
    pm_walk_close(walk);
    CHECK_INT(PM_STATE_SUSPENDED, state_of(store, "base"));
}

static void every_function_checks_the_error_struct_first(void) {
    with_store(refuse_everywhere);
}

/* The structs of an older and of a newer program: a shorter message, and unknown fields. */
static void other_rooms(void) {
    union {
        pm_error error;
        char bytes[sizeof(pm_error) + 4096];
    } room;
    static const size_t rooms[] = { 1, 2, 20, 1024, 1028, 2000 };
    char whole[PM_ERROR_MESSAGE_SIZE];
    size_t i;
    FAILS(PM_ERR_NOT_FOUND, pm_mark_faulty(store, PM_LIT("none"), why()));
    memcpy(whole, told()->message, sizeof whole);
    CHECK(strlen(whole) > 20);
    for (i = 0; i < COUNT(rooms); i++) {
        size_t size = offsetof(pm_error, message) + rooms[i];
        size_t kept = strlen(whole) < rooms[i] ? strlen(whole) : rooms[i] - 1;
        size_t at;
        memset(&room, 0x33, sizeof room);
        room.error.struct_size = size;
        FAILS(PM_ERR_NOT_FOUND, pm_mark_faulty(store, PM_LIT("none"), &room.error));
        CHECK_INT(size, room.error.struct_size);
        CHECK_INT(PM_ERR_NOT_FOUND, room.error.code);
        CHECK(strlen(room.error.message) == kept && memcmp(whole, room.error.message, kept) == 0);
        for (at = offsetof(pm_error, message) + kept + 1; at < sizeof room; at++) {
            CHECK_INT(0x33, room.bytes[at]);
        }
    }
}

static void error_struct_of_another_size_is_filled_as_far_as_it_goes(void) {
    with_store(other_rooms);
}

static void names_in_messages(void) {
    char name[PM_MAX_NAME_LEN];
    FAILS(PM_ERR_NOT_FOUND, pm_mark_faulty(store, PM_LIT("snap/7"), why()));
    CHECK(strstr(told()->message, "\"snap/7\"") != NULL);
    FAILS(PM_ERR_NOT_FOUND, pm_mark_faulty(store, PM_LIT("\xff\n\"\\"), why()));
    CHECK(strstr(told()->message, "\"\\xff\\n\\\"\\\\\"") != NULL);
    memset(name, 'n', sizeof name);
    name[0] = 'a';
    name[sizeof name - 1] = 'z';
    FAILS(PM_ERR_NOT_FOUND, pm_mark_faulty(store, name, sizeof name, why()));
    CHECK(strstr(told()->message, "\"annn") != NULL &&
          strstr(told()->message, "nz\" (511 bytes)") != NULL);
}

static void message_names_the_device_in_ascii(void) {
    with_store(names_in_messages);
}

static void message_names_the_path_and_the_system_error(void) {
    pm_store *out = UNTOUCHED;
    const char *path = place("no/such/directory/pool.db");
    FAILS(PM_ERR_NO_SUCH_FILE, pm_open(PM_CSTR(path), NULL, &out, why()));
    CHECK(strstr(told()->message, path) != NULL &&
          strstr(told()->message, "create the directory") != NULL);
    CHECK_INT(ENOENT, told()->os_error);
    CHECK(out == UNTOUCHED);
}

/* A path too long for the message about it, with characters of several bytes at every offset. */
static void long_message_ends_in_a_whole_character(void) {
    char path[3200];
    size_t shift;
    for (shift = 0; shift < 3; shift++) {
        size_t len = (size_t)snprintf(path, sizeof path, "%s/", place("x"));
        size_t at;
        const unsigned char *end;
        pm_store *out = UNTOUCHED;
        len += shift;
        memset(path + len - shift, 'x', shift);
        while (len + 4 < 2900) {
            memcpy(path + len, len % 200 < 197 ? "\xe2\x82\xac" : "///", 3);
            len += 3;
        }
        FAILS(PM_ERR_NO_SUCH_FILE, pm_open(path, len, NULL, &out, why()));
        at = strlen(told()->message);
        CHECK(at >= PM_ERROR_MESSAGE_SIZE - 4);
        end = (const unsigned char *)told()->message + at;
        /* The last character is ASCII or whole. */
        CHECK(end[-1] < 0x80 || (end[-1] == 0xac && end[-2] == 0x82 && end[-3] == 0xe2));
        CHECK(out == UNTOUCHED);
    }
}

static int32_t fail_with(pm_device *device, void *code) {
    (void)device;
    return *(int32_t *)code;
}

static void callback_code_belongs_to_one_call(void) {
    int32_t code = -5;
    pm_error error = PM_ERROR_INIT;
    store = open_new("pool.db");
    add(store, "base");
    FAILS(PM_ERR_CALLBACK, pm_update_device(store, PM_LIT("base"), fail_with, &code, &error));
    CHECK_INT(PM_ERR_CALLBACK, error.code);
    CHECK_INT(-5, error.callback_code);
    CHECK_INT(0, error.os_error);
    CHECK(strstr(error.message, "-5") != NULL);
    FAILS(PM_ERR_NOT_FOUND, pm_update_device(store, PM_LIT("none"), fail_with, &code, &error));
    CHECK_INT(PM_ERR_NOT_FOUND, error.code);
    CHECK_INT(0, error.callback_code);
    CHECK(strstr(error.message, "-5") == NULL);
    /* A call that succeeds leaves what an earlier one said. */
    OK(pm_verify(store, &error));
    CHECK_INT(PM_ERR_NOT_FOUND, error.code);
    close_store(store);
}

/* The comments of struct_size in the header. */
static void smallest_sizes(void) {
    pm_error error = PM_ERROR_INIT;
    pm_device device = device_named("new");
    pm_options options = PM_OPTIONS_INIT;
    pm_stats stats = PM_STATS_INIT;
    pm_ids ids = PM_IDS_INIT;
    pm_repair_options repair = PM_REPAIR_OPTIONS_INIT;
    pm_restored restored = PM_RESTORED_INIT;
    pm_salvaged salvaged = PM_SALVAGED_INIT;
    pm_filter filter = PM_FILTER_INIT;
    pm_intent intent = PM_INTENT_INIT;
    pm_pool_state pool = PM_POOL_STATE_INIT;
    pm_report *report;
    pm_walk *walk;
    pm_reconciliation *differences;
    int accepted;
    for (accepted = 0; accepted < 2; accepted++) {
        size_t less = accepted ? 0 : 1;
        int32_t refused = PM_ERR_STRUCT_SIZE;
        error.struct_size = 21 - less;
        FAILS(accepted ? PM_ERR_NOT_FOUND : refused,
              pm_mark_faulty(store, PM_LIT("none"), &error));
        device.struct_size = 88 - less;
        device.state = 14;
        FAILS(accepted ? PM_ERR_INVALID_STATE : refused, pm_add_device(store, &device, why()));
        options.struct_size = 80 - less;
        options.flags = 4;
        FAILS(accepted ? PM_ERR_INVALID_ARGUMENT : refused,
              pm_check_file(PM_LIT("none"), &options, 0, &report, why()));
        stats.struct_size = 104 - less;
        CHECK_INT(accepted ? PM_OK : refused, pm_get_stats(store, &stats, NULL));
        ids.struct_size = 48 - less;
        FAILS(accepted ? PM_ERR_NOT_EMPTY : refused, pm_import(store, NULL, 0, &ids, why()));
        repair.struct_size = 48 - less;
        FAILS(accepted ? PM_ERR_NO_SUCH_FILE : refused,
              pm_repair(PM_LIT("none"), &repair, &report, why()));
        restored.struct_size = 32 - less;
        FAILS(accepted ? PM_ERR_NO_SUCH_FILE : refused,
              pm_restore(PM_LIT("none"), PM_LIT("new"), NULL, &restored, NULL, why()));
        salvaged.struct_size = 40 - less;
        FAILS(accepted ? PM_ERR_NO_SUCH_FILE : refused,
              pm_salvage(PM_LIT("none"), PM_LIT("new"), NULL, 0, &salvaged, NULL, why()));
        filter.struct_size = 48 - less;
        CHECK_INT(accepted ? PM_OK : refused, pm_walk_open_filtered(store, &filter, &walk, NULL));
        intent.struct_size = 56 - less;
        intent.kind = -1;
        FAILS(accepted ? PM_ERR_INVALID_ARGUMENT : refused,
              pm_begin_intent(store, &intent, why()));
        pool.struct_size = 56 - less;
        FAILS(accepted ? PM_ERR_INVALID_ARGUMENT : refused,
              pm_reconcile(store, &pool, &differences, why()));
    }
    pm_walk_close(walk);
    CHECK(stats.devices == 1 && stats.pages_free == 0);
}

static void smallest_struct_that_the_header_names_is_accepted(void) {
    with_store(smallest_sizes);
}

static int32_t add_nameless(pm_device *record, void *unused) {
    pm_device device = device_named("");
    (void)record;
    (void)unused;
    FAILS(PM_ERR_NESTED_WRITE, pm_add_device(store, &device, why()));
    return 0;
}

/* Each call has all of the faults that are left, and they are mended in the header's order. */
static void first_fault_decides_the_code(void) {
    pm_error bad = PM_ERROR_INIT;
    pm_device device = device_named("");
    pm_device *found = UNTOUCHED;
    pm_options read_only = PM_OPTIONS_INIT;
    pm_store *closed = open_new("closed.db");
    OK(pm_close(closed, why()));
    bad.struct_size = 0;
    device.struct_size = 7;
    device.state = -1;
    FAILS(PM_ERR_STRUCT_SIZE, pm_add_device(NULL, &device, &bad));
    FAILS(PM_ERR_INVALID_ARGUMENT, pm_add_device(NULL, &device, why()));
    FAILS(PM_ERR_STRUCT_SIZE, pm_add_device(closed, &device, why()));
    device.struct_size = sizeof device;
    FAILS(PM_ERR_INVALID_STATE, pm_add_device(closed, &device, why()));
    device.state = PM_STATE_CREATED;
    FAILS(PM_ERR_CLOSED, pm_add_device(closed, &device, why()));
    FAILS(PM_ERR_INVALID_STATE, pm_change_device_state(closed, PM_LIT(""), 14, why()));
    FAILS(PM_ERR_CLOSED, pm_get_device(closed, PM_LIT(""), &found, why()));
    store = open_new("pool.db");
    add(store, "base");
    OK(pm_update_device(store, PM_LIT("base"), add_nameless, NULL, why()));
    close_store(store);
    read_only.flags = PM_OPEN_READ_ONLY;
    OK(pm_open(PM_CSTR(place("pool.db")), &read_only, &store, why()));
    FAILS(PM_ERR_INVALID_NAME, pm_add_device(store, &device, why()));
    FAILS(PM_ERR_NOT_FOUND, pm_remove_device(store, PM_LIT(""), why()));
    device.name = "base";
    device.name_len = 4;
    FAILS(PM_ERR_READ_ONLY, pm_add_device(store, &device, why()));
    FAILS(PM_ERR_READ_ONLY, pm_remove_device(store, PM_LIT("none"), why()));
    OK(pm_close(store, why()));
}

static void refuse_list(const pm_change *list, int32_t code, size_t at) {
    size_t refused = 77;
    FAILS(code, pm_apply(store, list, 3, &refused, why()));
    CHECK_INT(at, refused);
}

static void states_before_names_before_devices(void) {
    pm_device absent = device_named("absent");
    pm_device nameless = device_named("");
    pm_device odd = device_named("base");
    pm_change list[3];
    list[0].kind = PM_CHANGE_REMOVE;
    list[0].device = &absent;
    list[1].kind = PM_CHANGE_ADD;
    list[1].device = &nameless;
    list[2].kind = PM_CHANGE_STATE;
    list[2].device = &odd;
    odd.state = 14;
    refuse_list(list, PM_ERR_INVALID_STATE, 2);
    odd.state = PM_STATE_CREATED;
    refuse_list(list, PM_ERR_INVALID_NAME, 1);
    nameless.name = "base";
    nameless.name_len = 4;
    refuse_list(list, PM_ERR_NOT_FOUND, 0);
    absent.name = "base";
    absent.name_len = 4;
    OK(pm_apply(store, list, 3, NULL, why()));
}

static void list_with_several_faults_reports_the_first_kind(void) {
    with_store(states_before_names_before_devices);
}

static const struct test tests[] = {
    NAMED(error_struct_is_optional),
    NAMED(impossible_size_of_an_error_struct_changes_nothing),
    NAMED(every_function_checks_the_error_struct_first),
    NAMED(error_struct_of_another_size_is_filled_as_far_as_it_goes),
    NAMED(message_names_the_device_in_ascii),
    NAMED(message_names_the_path_and_the_system_error),
    NAMED(long_message_ends_in_a_whole_character),
    NAMED(callback_code_belongs_to_one_call),
    NAMED(smallest_struct_that_the_header_names_is_accepted),
    NAMED(first_fault_decides_the_code),
    NAMED(list_with_several_faults_reports_the_first_kind),
};
TEST_MAIN(tests)
