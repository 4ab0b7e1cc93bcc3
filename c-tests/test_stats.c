/*
 * The struct of statistics, as long as programs of other releases have it. What it tells is in
 * tests/meaning/stats.rs.
 */
#include "test.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

/* A member of each part of the struct. */
static void members_are_where_the_header_has_them(void) {
    pm_store *store = open_new("pool.db");
    pm_stats stats = PM_STATS_INIT;
    pm_running_reads *reads = NULL;
    pm_walk *walk = NULL;
    uint64_t sum = 0;
    size_t i;
    add(store, "a");
    OK(pm_walk_open(store, &walk, why()));
    OK(pm_remove_device(store, PM_LIT("a"), why()));
    OK(pm_get_stats(store, &stats, why()));
    OK(pm_get_running_reads(store, &reads, why()));
    pm_walk_close(walk);
    CHECK(reads->struct_size == sizeof *reads && reads->count == 1);
    CHECK(reads->reads[0]->struct_size == sizeof *reads->reads[0]);
    CHECK(reads->reads[0]->pid == (uint32_t)getpid() && reads->reads[0]->age_ns > 0);
    CHECK_INT(1, reads->reads[0]->commits_behind);
    pm_free(reads);
    CHECK_INT(sizeof stats, stats.struct_size);
    CHECK(stats.devices == 0 && stats.free_ids == 1 && stats.commits == 2);
    CHECK_INT(sysconf(_SC_PAGESIZE), stats.page_size);
    CHECK(stats.pages_held > 0 && stats.pages_held <= stats.pages_free);
    CHECK(stats.walks_open == 1 && stats.oldest_walk_ns > 0 && stats.writes_stopped == 0);
    CHECK(stats.is_copy == 0);
    CHECK(stats.commit_operations.sum == 2 && stats.commit_operations.buckets[0] == 2);
    for (i = 0; i < PM_HISTOGRAM_BUCKETS; i++) {
        sum += stats.commit_nanoseconds.buckets[i];
    }
    CHECK(sum == 2 && stats.commit_nanoseconds.count == 2 && stats.commit_nanoseconds.sum > 0);
    CHECK(stats.flushes == 2 && stats.undone_commits == 0);
    close_store(store);
}

static void struct_of_another_size_is_filled_as_far_as_both_know_it(void) {
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
    /* A newer program's struct: what this library does not know is left alone. */
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

static void write_beyond_the_limit_of_pinned_growth_is_refused(void) {
    pm_options options = PM_OPTIONS_INIT;
    pm_store *store = NULL;
    pm_walk *walk = NULL;
    char process[32];
    int32_t status = PM_OK;
    int i;
    options.max_pinned_growth = 4096;
    options.durability = PM_DURABILITY_RELAXED;
    OK(pm_open(PM_CSTR(place("pinned.db")), &options, &store, why()));
    add(store, "a");
    OK(pm_walk_open(store, &walk, why()));
    for (i = 0; i < 1000 && status == PM_OK; i++) {
        status = pm_change_device_state(store, PM_LIT("a"), i % 13, NULL);
    }
    CHECK_INT(PM_ERR_PINNED, status);
    FAILS(PM_ERR_PINNED, pm_change_device_state(store, PM_LIT("a"), PM_STATE_CREATED, why()));
    snprintf(process, sizeof process, "process %d's", (int)getpid());
    CHECK(strstr(told()->message, process) != NULL);
    pm_walk_close(walk);
    OK(pm_change_device_state(store, PM_LIT("a"), PM_STATE_CREATED, why()));
    close_store(store);
}

static const struct test tests[] = {
    NAMED(members_are_where_the_header_has_them),
    NAMED(struct_of_another_size_is_filled_as_far_as_both_know_it),
    NAMED(write_beyond_the_limit_of_pinned_growth_is_refused),
};
TEST_MAIN(tests)
