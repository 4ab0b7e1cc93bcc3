/* What a store tells of itself: counts, sizes, commits, readers. */
#include "test.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void counts_and_sizes(void) {
    pm_store *store = open_new("pool.db");
    pm_stats stats = PM_STATS_INIT;
    struct stat file;
    OK(pm_get_stats(store, &stats, why()));
    CHECK_INT(0, stats.devices + stats.taken_ids + stats.free_ids + stats.faulty_ids + stats.last_id + stats.commits);
    add(store, "a");
    add(store, "b");
    add(store, "c");
    add(store, "d");
    OK(pm_remove_device(store, PM_LIT("a"), why()));
    OK(pm_mark_faulty(store, PM_LIT("b"), why()));
    CHECK_INT(1, add(store, "b")); /* the lowest free one; 2 is left faulty */
    OK(pm_get_stats(store, &stats, why()));
    CHECK_INT(sizeof stats, stats.struct_size);
    CHECK_INT(3, stats.devices);
    CHECK_INT(3, stats.taken_ids);
    CHECK_INT(0, stats.free_ids);
    CHECK_INT(1, stats.faulty_ids);
    CHECK_INT(4, stats.last_id);
    CHECK_INT(7, stats.commits);
    CHECK_INT(INT64_C(16) << 30, stats.map_size);
    CHECK_INT(1024, stats.max_readers);
    CHECK_INT(sysconf(_SC_PAGESIZE), stats.page_size);
    CHECK(stat(place("pool.db"), &file) == 0);
    CHECK_INT(file.st_size, stats.file_size);
    CHECK(stats.map_used > 0 && stats.map_used <= stats.file_size && stats.map_used % stats.page_size == 0);
    CHECK(stats.readers_in_use >= 1 && stats.readers_in_use <= stats.max_readers);
    close_store(store);
}

static uint64_t counted(const pm_histogram *histogram) {
    uint64_t sum = 0;
    size_t i;
    for (i = 0; i < PM_HISTOGRAM_BUCKETS; i++) {
        sum += histogram->buckets[i];
    }
    CHECK_INT(sum, histogram->count);
    return sum;
}

static void commits_and_readers(void) {
    const char *path = place("pool.db");
    pm_store *store = open_with(path, 0);
    pm_device devices[3] = { PM_DEVICE_INIT, PM_DEVICE_INIT, PM_DEVICE_INIT };
    pm_change changes[3];
    pm_stats stats = PM_STATS_INIT;
    pm_walk *walk = NULL;
    size_t i;
    OK(pm_get_stats(store, &stats, why()));
    CHECK_INT(0, counted(&stats.commit_operations) + counted(&stats.commit_nanoseconds));
    CHECK_INT(0, stats.readers_active + stats.oldest_reader_commits + stats.walks_open + stats.oldest_walk_ns);
    CHECK_INT(0, stats.writers_waiting + stats.writes_stopped + stats.pages_held);
    for (i = 0; i < COUNT(changes); i++) {
        devices[i].name = &"abc"[i];
        devices[i].name_len = 1;
        changes[i].kind = PM_CHANGE_ADD;
        changes[i].device = &devices[i];
    }
    OK(pm_apply(store, changes, COUNT(changes), NULL, why()));
    FAILS(PM_ERR_ALREADY_EXISTS, pm_add_device(store, &devices[0], why()));
    OK(pm_walk_open(store, &walk, why()));
    for (i = 0; i < 10; i++) {
        OK(pm_change_device_state(store, PM_LIT("a"), (int32_t)i, why()));
    }
    OK(pm_get_stats(store, &stats, why()));
    CHECK_INT(11, counted(&stats.commit_operations));
    CHECK_INT(13, stats.commit_operations.sum);
    CHECK_INT(10, stats.commit_operations.buckets[0]);
    CHECK_INT(1, stats.commit_operations.buckets[2]); /* three: up to 2^2 */
    CHECK_INT(11, counted(&stats.commit_nanoseconds));
    CHECK(stats.commit_nanoseconds.sum > 11 * 1000);
    CHECK_INT(1, stats.readers_active);
    CHECK_INT(10, stats.oldest_reader_commits);
    CHECK_INT(1, stats.walks_open);
    CHECK(stats.oldest_walk_ns > 0);
    CHECK(stats.pages_held > 10 && stats.pages_free >= stats.pages_held);
    CHECK(stats.pages_free < stats.map_used / stats.page_size);
    pm_walk_close(walk);
    OK(pm_get_stats(store, &stats, why()));
    CHECK_INT(0, stats.readers_active + stats.oldest_reader_commits + stats.walks_open + stats.oldest_walk_ns);
    CHECK(stats.pages_held == 0 && stats.pages_free > 10);
    close_store(store);
    /* What is counted is what one opening has done. */
    store = open_with(path, 0);
    OK(pm_get_stats(store, &stats, why()));
    CHECK_INT(11, stats.commits);
    CHECK_INT(0, stats.commit_operations.count + stats.commit_nanoseconds.sum);
    close_store(store);
}

static void structs_of_other_sizes(void) {
    const size_t least = offsetof(pm_stats, pages_free);
    const size_t bad[] = { 0, 8, least - 1, 65537, SIZE_MAX };
    pm_store *store = open_new("pool.db");
    union {
        pm_stats stats;
        unsigned char bytes[sizeof(pm_stats) + 64];
    } room;
    size_t size;
    size_t i;
    add(store, "base");
    for (i = 0; i < COUNT(bad); i++) {
        size_t at;
        memset(&room, 0x33, sizeof room);
        room.stats.struct_size = bad[i];
        FAILS(PM_ERR_STRUCT_SIZE, pm_get_stats(store, &room.stats, why()));
        CHECK_INT(bad[i], room.stats.struct_size);
        for (at = sizeof(size_t); at < sizeof room; at++) {
            CHECK_INT(0x33, room.bytes[at]);
        }
    }
    /* A newer program's struct: what this library does not know is left alone, whatever is there. */
    memset(&room, 0x33, sizeof room);
    room.stats.struct_size = sizeof room;
    OK(pm_get_stats(store, &room.stats, why()));
    CHECK_INT(sizeof room, room.stats.struct_size);
    CHECK_INT(1, room.stats.devices);
    for (i = sizeof(pm_stats); i < sizeof room; i++) {
        CHECK_INT(0x33, room.bytes[i]);
    }
    /* An older program's: as much as it has room for. */
    for (size = least; size < sizeof(pm_stats); size += 8) {
        memset(&room, 0x33, sizeof room);
        room.stats.struct_size = size;
        OK(pm_get_stats(store, &room.stats, why()));
        CHECK_INT(size, room.stats.struct_size);
        CHECK_INT(1, room.stats.devices);
        CHECK(room.stats.readers_in_use != UINT64_C(0x3333333333333333));
        for (i = size; i < sizeof room; i++) {
            CHECK_INT(0x33, room.bytes[i]);
        }
    }
    close_store(store);
}

static const struct test tests[] = {
    NAMED(counts_and_sizes),
    NAMED(commits_and_readers),
    NAMED(structs_of_other_sizes),
};
TEST_MAIN(tests)
