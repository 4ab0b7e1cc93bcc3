/* Opening, closing, options, verification, flushing. */
#include "test.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int mode_of(const char *path) {
    struct stat info;
    CHECK(stat(path, &info) == 0);
    return (int)(info.st_mode & 07777);
}

static void creates_a_private_file_and_keeps_what_is_written(void) {
    const char *path = place("pool.db");
    pm_store *store;
    mode_t before = umask(0);
    store = open_with(path, 0);
    umask(before);
    CHECK_INT(0600, mode_of(path));
    CHECK_INT(0600, mode_of(place("pool.db-lock")));
    CHECK(access(place("pool.db.new"), F_OK) != 0);
    CHECK_INT(1, add(store, "base"));
    close_store(store);
    store = open_with(path, 0);
    CHECK_INT(PM_STATE_ACTIVATED, state_of(store, "base"));
    CHECK_INT(2, add(store, "snap"));
    close_store(store);
}

static void paths_are_bytes_without_a_terminator(void) {
    char path[4096];
    size_t len = (size_t)snprintf(path, sizeof path, "%s", place("p\xff\xfe.db"));
    pm_store *store = UNTOUCHED;
    /* What comes behind path_len is not looked at. */
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

static void options_out_of_range_are_refused(void) {
    static const int32_t levels[] = { -1, 4, INT32_MAX, INT32_MIN };
    static const int32_t durabilities[] = { -1, 2, INT32_MAX, INT32_MIN };
    const pm_options defaults = PM_OPTIONS_INIT;
    pm_options options = defaults;
    size_t i;
    for (i = 1; i < 32; i++) {
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

static void options_at_their_limits_are_taken(void) {
    pm_options options = PM_OPTIONS_INIT;
    pm_stats stats = PM_STATS_INIT;
    pm_store *store = NULL;
    options.map_size = 1; /* raised to what the file needs */
    options.max_readers = 1;
    options.lock_wait_ms = UINT64_MAX;
    options.verify = PM_VERIFY_QUICK;
    options.durability = PM_DURABILITY_RELAXED;
    OK(pm_open(PM_CSTR(place("small.db")), &options, &store, why()));
    OK(pm_get_stats(store, &stats, why()));
    CHECK_INT(128, stats.max_readers);
    CHECK(stats.map_size >= stats.map_used && stats.map_size < UINT64_C(64) << 20);
    add(store, "base");
    OK(pm_sync(store, why()));
    close_store(store);
    options.max_readers = 5000;
    options.map_size = UINT64_C(1) << 32;
    options.verify = PM_VERIFY_NONE;
    options.durability = PM_DURABILITY_FULL;
    OK(pm_open(PM_CSTR(place("large.db")), &options, &store, why()));
    OK(pm_get_stats(store, &stats, why()));
    CHECK_INT(5000, stats.max_readers);
    CHECK_INT(INT64_C(1) << 32, stats.map_size);
    OK(pm_sync(store, why()));
    close_store(store);
}

/* Structs of older and newer programs: of pm_options, by the rule that holds for every struct that is read. */
static void option_structs_of_other_sizes(void) {
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

static int32_t never(pm_device *device, void *unused) {
    (void)device;
    (void)unused;
    CHECK(!"a callback of an update that cannot be");
    return 0;
}

static void a_read_only_store_reads_and_does_not_write(void) {
    const char *path = place("pool.db");
    pm_options options = PM_OPTIONS_INIT;
    pm_device device = device_named("new");
    pm_device *record = UNTOUCHED;
    pm_update *update = UNTOUCHED;
    pm_ids ids = PM_IDS_INIT;
    pm_store *store = UNTOUCHED;
    options.flags = PM_OPEN_READ_ONLY;
    FAILS(PM_ERR_NO_SUCH_FILE, pm_open(PM_CSTR(path), &options, &store, why()));
    CHECK(store == UNTOUCHED && access(path, F_OK) != 0);
    store = open_with(path, 0);
    add(store, "base");
    close_store(store);
    OK(pm_open(PM_CSTR(path), &options, &store, why()));
    CHECK_INT(PM_STATE_ACTIVATED, state_of(store, "base"));
    FAILS(PM_ERR_READ_ONLY, pm_add_device(store, &device, why()));
    FAILS(PM_ERR_READ_ONLY, pm_change_device_state(store, PM_LIT("base"), 1, why()));
    FAILS(PM_ERR_READ_ONLY, pm_mark_faulty(store, PM_LIT("base"), why()));
    FAILS(PM_ERR_READ_ONLY, pm_remove_device(store, PM_LIT("base"), why()));
    FAILS(PM_ERR_READ_ONLY, pm_update_device(store, PM_LIT("base"), never, NULL, why()));
    FAILS(PM_ERR_READ_ONLY, pm_update_begin(store, PM_LIT("base"), &update, &record, why()));
    FAILS(PM_ERR_READ_ONLY, pm_import(store, NULL, 0, &ids, why()));
    FAILS(PM_ERR_READ_ONLY, apply_one(store, PM_CHANGE_ADD, &device, why()));
    FAILS(PM_ERR_READ_ONLY, pm_sync(store, why()));
    CHECK(device.device_id == 0 && record == UNTOUCHED && update == UNTOUCHED);
    CHECK_INT(1, device_count(store));
    close_store(store);
}

static void a_second_open_is_refused_by_whatever_path(void) {
    const char *path = place("pool.db");
    pm_store *store = open_with(path, 0);
    pm_store *second = UNTOUCHED;
    const char *paths[4];
    size_t i;
    CHECK(link(path, place("hard.db")) == 0);
    CHECK(symlink(path, place("soft.db")) == 0);
    CHECK(mkdir(place("sub"), 0700) == 0);
    add(store, "base");
    paths[0] = path;
    paths[1] = place("hard.db");
    paths[2] = place("soft.db");
    paths[3] = place("sub/../pool.db");
    for (i = 0; i < COUNT(paths); i++) {
        double start = seconds();
        FAILS(PM_ERR_ALREADY_OPEN, pm_open(PM_CSTR(paths[i]), NULL, &second, why()));
        CHECK(seconds() - start < 5); /* at once: well below the lock wait of 10 s */
        CHECK(second == UNTOUCHED);
    }
    /* The first one has not suffered, nor what it wrote. */
    CHECK_INT(2, add(store, "snap"));
    close_store(store);
    store = open_with(paths[2], 0);
    CHECK_INT(2, device_count(store));
    close_store(store);
}

static int32_t nothing(const pm_device *device, void *unused) {
    (void)device;
    (void)unused;
    return 0;
}

static void a_closed_store_refuses_everything(void) {
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
    FAILS(PM_ERR_CLOSED, pm_update_begin(store, PM_LIT("base"), (pm_update **)&out, (pm_device **)&out, why()));
    FAILS(PM_ERR_CLOSED, pm_walk_devices(store, nothing, NULL, why()));
    FAILS(PM_ERR_CLOSED, pm_walk_open(store, (pm_walk **)&out, why()));
    FAILS(PM_ERR_CLOSED, pm_get_device_names(store, (pm_names **)&out, why()));
    FAILS(PM_ERR_CLOSED, pm_import(store, NULL, 0, &ids, why()));
    FAILS(PM_ERR_CLOSED, apply_one(store, PM_CHANGE_ADD, &device, why()));
    FAILS(PM_ERR_CLOSED, pm_apply(store, NULL, 0, NULL, why()));
    FAILS(PM_ERR_CLOSED, pm_apply_each(store, NULL, 0, NULL, why()));
    FAILS(PM_ERR_CLOSED, pm_check(store, 0, (pm_report **)&out, why()));
    FAILS(PM_ERR_CLOSED, pm_backup(store, PM_LIT("/nowhere/copy.db"), 0, why()));
    CHECK(out == UNTOUCHED && device.device_id == 0 && stats.devices == 0);
    close_store(again);
}

static void closing_waits_for_walks_and_then_gives_up(void) {
    pm_store *store = open_with(place("pool.db"), 50);
    pm_walk *walk = NULL;
    double start;
    add(store, "base");
    OK(pm_walk_open(store, &walk, why()));
    start = seconds();
    FAILS(PM_ERR_BUSY, pm_close(store, why()));
    CHECK(strstr(told()->message, "walk") != NULL);
    CHECK(seconds() - start >= 0.04 && seconds() - start < 5);
    /* It is as it was. */
    CHECK_INT(2, add(store, "snap"));
    pm_walk_close(walk);
    close_store(store);
    FAILS(PM_ERR_CLOSED, pm_close(store, why()));
}

/* A record that somebody has flipped a bit in: found by a full verification, and by whoever reads it. */
static void damage_is_found(void) {
    const char *path = place("pool.db");
    pm_options options = PM_OPTIONS_INIT;
    pm_store *store = open_with(path, 0);
    pm_device device = device_named("sick");
    void *out = UNTOUCHED;
    device.error = "needle in a haystack";
    device.error_len = strlen(device.error);
    add(store, "healthy");
    OK(pm_add_device(store, &device, why()));
    close_store(store);
    damage(path, "needle in a haystack");
    FAILS(PM_ERR_CORRUPT, pm_open(PM_CSTR(path), NULL, &store, why()));
    CHECK(strstr(told()->message, "sick") != NULL && strstr(told()->message, path) != NULL);
    options.verify = PM_VERIFY_FULL;
    FAILS(PM_ERR_CORRUPT, pm_open(PM_CSTR(path), &options, &store, why()));
    options.verify = PM_VERIFY_QUICK;
    OK(pm_open(PM_CSTR(path), &options, &store, why()));
    FAILS(PM_ERR_CORRUPT, pm_verify(store, why()));
    FAILS(PM_ERR_CORRUPT, pm_get_device(store, PM_LIT("sick"), (pm_device **)&out, why()));
    CHECK(strstr(told()->message, path) != NULL);
    FAILS(PM_ERR_CORRUPT, pm_mark_faulty(store, PM_LIT("sick"), why()));
    FAILS(PM_ERR_CORRUPT, pm_get_device_names(store, (pm_names **)&out, why()));
    CHECK(out == UNTOUCHED);
    CHECK_INT(PM_STATE_ACTIVATED, state_of(store, "healthy"));
    OK(pm_close(store, why()));
}

/* Far more than the map that the store was opened with. */
static void a_full_map_grows_by_itself(void) {
    static char text[64 << 10];
    pm_options options = PM_OPTIONS_INIT;
    pm_stats stats = PM_STATS_INIT;
    pm_store *store = NULL;
    unsigned i;
    options.map_size = 1 << 20;
    OK(pm_open(PM_CSTR(place("pool.db")), &options, &store, why()));
    memset(text, 'e', sizeof text);
    for (i = 0; i < 64; i++) {
        char name[16];
        pm_device device;
        snprintf(name, sizeof name, "d%02u", i);
        device = device_named(name);
        device.error = text;
        device.error_len = sizeof text;
        OK(pm_add_device(store, &device, why()));
    }
    OK(pm_get_stats(store, &stats, why()));
    CHECK(stats.map_size > 4 << 20);
    CHECK_INT(64, stats.devices);
    close_store(store);
}

static const struct test tests[] = {
    NAMED(creates_a_private_file_and_keeps_what_is_written),
    NAMED(paths_are_bytes_without_a_terminator),
    NAMED(options_out_of_range_are_refused),
    NAMED(options_at_their_limits_are_taken),
    NAMED(option_structs_of_other_sizes),
    NAMED(a_read_only_store_reads_and_does_not_write),
    NAMED(a_second_open_is_refused_by_whatever_path),
    NAMED(a_closed_store_refuses_everything),
    NAMED(closing_waits_for_walks_and_then_gives_up),
    NAMED(damage_is_found),
    NAMED(a_full_map_grows_by_itself),
};
TEST_MAIN(tests)
