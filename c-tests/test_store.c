/*
 * Handles and options as C sees them. What the operations mean is in tests/meaning/handle.rs and
 * tests/meaning/open.rs.
 */
#include "test.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void path_is_bytes_without_a_terminator(void) {
    char path[4096];
    size_t len = (size_t)snprintf(path, sizeof path, "%s", place("p\xff\xfe.db"));
    pm_store *store = UNTOUCHED;
    /* Bytes behind path_len are not looked at. */
    memset(path + len, 'x', 16);
    OK(pm_open(path, len, NULL, &store, why()));
    CHECK(access(place("p\xff\xfe.db"), F_OK) == 0);
    close_store(store);
}

static void refuse(const pm_options *options, int32_t code, const char *word) {
    pm_store *store = UNTOUCHED;
    FAILS(code, pm_open(PM_CSTR(place("refused.db")), options, &store, why()));
    CHECK(strstr(told()->message, word) != NULL);
    CHECK(store == UNTOUCHED);
    CHECK(access(place("refused.db"), F_OK) != 0 && access(place("refused.db-lock"), F_OK) != 0);
}

static void option_out_of_range_is_refused(void) {
    static const int32_t levels[] = { -1, 4, INT32_MAX, INT32_MIN };
    static const int32_t durabilities[] = { -1, 2, INT32_MAX, INT32_MIN };
    const pm_options defaults = PM_OPTIONS_INIT;
    pm_options options = defaults;
    size_t i;
    for (i = 2; i < 32; i++) {
        options.flags = UINT32_C(1) << i;
        refuse(&options, PM_ERR_INVALID_ARGUMENT, "flags");
    }
    options = defaults;
    for (i = 0; i < COUNT(levels); i++) {
        options.verify = levels[i];
        refuse(&options, PM_ERR_INVALID_ARGUMENT, "verify");
    }
    options = defaults;
    for (i = 0; i < COUNT(durabilities); i++) {
        options.durability = durabilities[i];
        refuse(&options, PM_ERR_INVALID_ARGUMENT, "durability");
    }
    options = defaults;
    options.map_size = (UINT64_C(1) << 46) + 1;
    refuse(&options, PM_ERR_INVALID_ARGUMENT, "map_size");
    options.map_size = UINT64_MAX;
    refuse(&options, PM_ERR_INVALID_ARGUMENT, "map_size");
    options = defaults;
    options.max_readers = 1048577;
    refuse(&options, PM_ERR_INVALID_ARGUMENT, "max_readers");
    options.max_readers = UINT32_MAX;
    refuse(&options, PM_ERR_INVALID_ARGUMENT, "max_readers");
}

/* Structs of older and newer programs: of pm_options, by the rule for every struct that is read. */
static void option_struct_of_another_size_is_refused_if_more_is_set(void) {
    union {
        pm_options options;
        unsigned char bytes[65536 + 8];
    } *room = calloc(1, sizeof *room);
    static const size_t bad[] = { 0, 1, 8, sizeof(pm_options) - 1, 65537, SIZE_MAX };
    pm_store *store = NULL;
    size_t i;
    CHECK(room != NULL);
    for (i = 0; i < COUNT(bad); i++) {
        room->options.struct_size = bad[i];
        refuse(&room->options, PM_ERR_STRUCT_SIZE, "struct_size");
    }
    /* Larger, with something set that this library does not know: near, and at the far end. */
    room->options.struct_size = sizeof(pm_options) + 8;
    room->bytes[sizeof(pm_options)] = 1;
    refuse(&room->options, PM_ERR_STRUCT_SIZE, "struct_size");
    room->bytes[sizeof(pm_options)] = 0;
    room->options.struct_size = 65536;
    room->bytes[65535] = 1;
    refuse(&room->options, PM_ERR_STRUCT_SIZE, "struct_size");
    room->bytes[65535] = 0;
    /* What is behind the struct is not looked at. */
    room->bytes[65536] = 1;
    OK(pm_open(PM_CSTR(place("pool.db")), &room->options, &store, why()));
    close_store(store);
    room->options.struct_size = sizeof(pm_options) + 1;
    OK(pm_open(PM_CSTR(place("pool.db")), &room->options, &store, why()));
    close_store(store);
    free(room);
}

static void durability_and_level_are_taken(void) {
    pm_options options = PM_OPTIONS_INIT;
    pm_store *store = NULL;
    options.durability = PM_DURABILITY_RELAXED;
    options.verify = PM_VERIFY_QUICK;
    options.lock_wait_ms = UINT64_MAX;
    OK(pm_open(PM_CSTR(place("pool.db")), &options, &store, why()));
    add(store, "base");
    OK(pm_sync(store, why()));
    close_store(store);
}

static void store_opened_read_only_takes_no_writes(void) {
    pm_options options = PM_OPTIONS_INIT;
    pm_device device = device_named("new");
    pm_device *record = UNTOUCHED;
    pm_update *update = UNTOUCHED;
    pm_store *store = open_new("pool.db");
    add(store, "base");
    close_store(store);
    options.flags = PM_OPEN_READ_ONLY;
    OK(pm_open(PM_CSTR(place("pool.db")), &options, &store, why()));
    FAILS(PM_ERR_READ_ONLY, pm_add_device(store, &device, why()));
    FAILS(PM_ERR_READ_ONLY,
          pm_update_begin(store, PM_LIT("base"), &update, &record, why()));
    CHECK(device.device_id == 0 && record == UNTOUCHED && update == UNTOUCHED);
    close_store(store);
}

static void store_that_is_open_is_not_opened_again(void) {
    pm_store *store = open_new("pool.db");
    pm_store *second = UNTOUCHED;
    FAILS(PM_ERR_ALREADY_OPEN, pm_open(PM_CSTR(place("pool.db")), NULL, &second, why()));
    CHECK(second == UNTOUCHED);
    close_store(store);
}

static int32_t never(pm_device *device, void *unused) {
    (void)device;
    (void)unused;
    CHECK(!"a callback of an update that cannot be");
    return 0;
}

static int32_t nothing(const pm_device *device, void *unused) {
    (void)device;
    (void)unused;
    return 0;
}

static void closed_handle_refuses_every_call(void) {
    const char *path = place("pool.db");
    pm_store *store = open_with(path, 0);
    pm_store *again;
    pm_device device = device_named("new");
    pm_stats stats = PM_STATS_INIT;
    pm_ids ids = PM_IDS_INIT;
    void *out = UNTOUCHED;
    uint64_t buffer[64];
    add(store, "base");
    close_store(store);
    FAILS(PM_ERR_CLOSED, pm_close(store, why()));
    /* Opened anew, the file has another handle; the old one stays closed. */
    again = open_with(path, 0);
    CHECK(again != store);
    FAILS(PM_ERR_CLOSED, pm_close(store, why()));
    FAILS(PM_ERR_CLOSED, pm_sync(store, why()));
    FAILS(PM_ERR_CLOSED, pm_verify(store, why()));
    FAILS(PM_ERR_CLOSED, pm_get_stats(store, &stats, why()));
    FAILS(PM_ERR_CLOSED, pm_add_device(store, &device, why()));
    FAILS(PM_ERR_CLOSED, pm_get_device(store, PM_LIT("base"), (pm_device **)&out, why()));
    FAILS(PM_ERR_CLOSED, pm_get_device(store, NULL, 0, (pm_device **)&out, why()));
    FAILS(PM_ERR_CLOSED, pm_read_device(store, PM_LIT("base"), buffer, sizeof buffer, NULL, why()));
    FAILS(PM_ERR_CLOSED, pm_change_device_state(store, PM_LIT("base"), 1, why()));
    FAILS(PM_ERR_CLOSED, pm_mark_faulty(store, PM_LIT("base"), why()));
    FAILS(PM_ERR_CLOSED, pm_remove_device(store, PM_LIT("base"), why()));
    FAILS(PM_ERR_CLOSED, pm_update_device(store, PM_LIT("base"), never, NULL, why()));
    FAILS(PM_ERR_CLOSED, pm_update_begin(store, PM_LIT("base"), (pm_update **)&out,
                                         (pm_device **)&out, why()));
    FAILS(PM_ERR_CLOSED, pm_walk_devices(store, nothing, NULL, why()));
    FAILS(PM_ERR_CLOSED, pm_walk_open(store, (pm_walk **)&out, why()));
    FAILS(PM_ERR_CLOSED, pm_get_device_names(store, (pm_names **)&out, why()));
    FAILS(PM_ERR_CLOSED, pm_get_running_reads(store, (pm_running_reads **)&out, why()));
    FAILS(PM_ERR_CLOSED, pm_import(store, NULL, 0, &ids, why()));
    FAILS(PM_ERR_CLOSED, apply_one(store, PM_CHANGE_ADD, &device, why()));
    FAILS(PM_ERR_CLOSED, pm_apply(store, NULL, 0, NULL, why()));
    FAILS(PM_ERR_CLOSED, pm_apply_each(store, NULL, 0, NULL, why()));
    FAILS(PM_ERR_CLOSED, pm_check(store, 0, (pm_report **)&out, why()));
    FAILS(PM_ERR_CLOSED, pm_backup(store, PM_LIT("/nowhere/copy.db"), 0, why()));
    CHECK(out == UNTOUCHED && device.device_id == 0 && stats.devices == 0);
    close_store(again);
}

static void handle_with_an_open_walk_stays_open(void) {
    pm_store *store = open_with(place("pool.db"), 50);
    pm_walk *walk = NULL;
    add(store, "base");
    OK(pm_walk_open(store, &walk, why()));
    FAILS(PM_ERR_BUSY, pm_close(store, why()));
    CHECK_INT(2, add(store, "snap"));
    pm_walk_close(walk);
    close_store(store);
}

static void message_names_the_damaged_device_and_the_file(void) {
    const char *path = place("pool.db");
    pm_options options = PM_OPTIONS_INIT;
    pm_store *store = open_with(path, 0);
    pm_device device = device_named("sick");
    void *out = UNTOUCHED;
    device.error = "needle in a haystack";
    device.error_len = strlen(device.error);
    OK(pm_add_device(store, &device, why()));
    close_store(store);
    damage(path, "needle in a haystack");
    FAILS(PM_ERR_CORRUPT, pm_open(PM_CSTR(path), NULL, &store, why()));
    CHECK(strstr(told()->message, "sick") != NULL && strstr(told()->message, path) != NULL);
    options.verify = PM_VERIFY_QUICK;
    OK(pm_open(PM_CSTR(path), &options, &store, why()));
    FAILS(PM_ERR_CORRUPT, pm_verify(store, why()));
    FAILS(PM_ERR_CORRUPT, pm_get_device(store, PM_LIT("sick"), (pm_device **)&out, why()));
    CHECK(strstr(told()->message, path) != NULL);
    FAILS(PM_ERR_CORRUPT, pm_get_device_names(store, (pm_names **)&out, why()));
    CHECK(out == UNTOUCHED);
    OK(pm_close(store, why()));
}

static const struct test tests[] = {
    NAMED(path_is_bytes_without_a_terminator),
    NAMED(option_out_of_range_is_refused),
    NAMED(option_struct_of_another_size_is_refused_if_more_is_set),
    NAMED(durability_and_level_are_taken),
    NAMED(store_opened_read_only_takes_no_writes),
    NAMED(store_that_is_open_is_not_opened_again),
    NAMED(closed_handle_refuses_every_call),
    NAMED(handle_with_an_open_walk_stays_open),
    NAMED(message_names_the_damaged_device_and_the_file),
};
TEST_MAIN(tests)
