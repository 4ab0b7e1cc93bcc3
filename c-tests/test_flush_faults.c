/* What a flush and the write of a meta page can fail with, and what is left to do after each; see faults.c. */
#include "test.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "faults.h"

static pm_store *store;
static const char *path;

static const int errors[] = {EIO, EROFS, EPERM, ENOMEM, ENOSPC, EDQUOT};

static void open_pool(int32_t durability) {
    pm_options options = PM_OPTIONS_INIT;
    options.durability = durability;
    OK(pm_open(PM_CSTR(path), &options, &store, why()));
}

static void new_pool(int32_t durability) {
    path = place("pool.db");
    open_pool(durability);
    add(store, "base");
}

/* Fails unless the store is as new_pool made it, by every way to read it. */
static void check_unchanged(void) {
    pm_names *names = NULL;
    CHECK_INT(PM_STATE_ACTIVATED, state_of(store, "base"));
    OK(pm_get_device_names(store, &names, why()));
    CHECK_INT(1, names->count);
    pm_free(names);
    CHECK_INT(1, device_count(store));
    check_store(store);
}

/* Writes stopped by `call`, which failed as it has to: reads go on, and a store opened again takes writes. */
static void check_stopped(int error, int32_t durability) {
    pm_device device = device_named("new");
    CHECK_INT(error, told()->os_error);
    CHECK(strstr(told()->message, path) != NULL);
    FAILS(PM_ERR_WRITES_STOPPED, pm_mark_faulty(store, PM_LIT("base"), why()));
    FAILS(PM_ERR_WRITES_STOPPED, pm_add_device(store, &device, why()));
    check_unchanged();
    close_store(store);
    open_pool(durability);
    check_unchanged();
    OK(pm_change_device_state(store, PM_LIT("base"), PM_STATE_ACTIVATED, why()));
}

/* A full disk has not failed: the meta page was not reached, and no earlier commit waits for the flush. */
static void with_full_durability_every_failed_flush_but_for_want_of_room_stops_the_writes(void) {
    size_t i;
    new_pool(PM_DURABILITY_FULL);
    for (i = 0; i < COUNT(errors); i++) {
        int full = errors[i] == ENOSPC || errors[i] == EDQUOT;
        fault_after(FAULT_SYNC, 0, 1, errors[i]);
        FAILS(full ? PM_ERR_DISK_FULL : PM_ERR_IO, pm_mark_faulty(store, PM_LIT("base"), why()));
        CHECK_INT(1, fault_end(FAULT_SYNC));
        CHECK_INT(errors[i], told()->os_error);
        if (!full) {
            check_stopped(errors[i], PM_DURABILITY_FULL);
            continue;
        }
        check_unchanged();
        OK(pm_change_device_state(store, PM_LIT("base"), PM_STATE_ACTIVATED, why()));
        check_unchanged();
    }
    close_store(store);
}

/* Earlier commits are not on the disk yet either: whatever the flush failed with, they may be lost. */
static void in_a_relaxed_store_every_failed_flush_stops_the_writes(void) {
    size_t i;
    new_pool(PM_DURABILITY_RELAXED);
    for (i = 0; i < COUNT(errors); i++) {
        fault_after(FAULT_SYNC, 0, 1, errors[i]);
        FAILS(PM_ERR_IO, pm_mark_faulty(store, PM_LIT("base"), why()));
        CHECK_INT(1, fault_end(FAULT_SYNC));
        check_stopped(errors[i], PM_DURABILITY_RELAXED);
        fault_after(FAULT_SYNC, 0, 1, errors[i]);
        FAILS(PM_ERR_IO, pm_sync(store, why()));
        CHECK_INT(1, fault_end(FAULT_SYNC));
        check_stopped(errors[i], PM_DURABILITY_RELAXED);
    }
    close_store(store);
}

static void a_meta_page_that_cannot_be_written_stops_the_writes(void) {
    static const int32_t durabilities[] = {PM_DURABILITY_FULL, PM_DURABILITY_RELAXED};
    size_t i;
    size_t k;
    for (k = 0; k < COUNT(durabilities); k++) {
        new_pool(durabilities[k]);
        for (i = 0; i < COUNT(errors); i++) {
            fault_after(FAULT_META, 0, 1, errors[i]);
            FAILS(PM_ERR_IO, pm_mark_faulty(store, PM_LIT("base"), why()));
            CHECK_INT(1, fault_end(FAULT_META));
            check_stopped(errors[i], durabilities[k]);
        }
        close_store(store);
        CHECK(unlink(path) == 0 && unlink(place("pool.db-lock")) == 0);
    }
}

/* LMDB's environment is opened anew for the reads that go on: by a path at which another file may be by then. */
static void another_file_at_the_path_is_not_read_for_this_one(void) {
    const char *other = place("other.db");
    pm_device *device = UNTOUCHED;
    pm_names *names = UNTOUCHED;
    pm_store *next = open_with(other, 0);
    add(next, "impostor");
    close_store(next);
    new_pool(PM_DURABILITY_FULL);
    fault_after(FAULT_META, 0, 1, EIO);
    FAILS(PM_ERR_IO, pm_mark_faulty(store, PM_LIT("base"), why()));
    CHECK_INT(1, fault_end(FAULT_META));
    CHECK(rename(other, path) == 0);
    FAILS(PM_ERR_IO, pm_get_device(store, PM_LIT("impostor"), &device, why()));
    CHECK(strstr(told()->message, path) != NULL && strstr(told()->message, "replaced") != NULL);
    FAILS(PM_ERR_IO, pm_get_device(store, PM_LIT("base"), &device, why()));
    FAILS(PM_ERR_IO, pm_get_device_names(store, &names, why()));
    CHECK(device == UNTOUCHED && names == UNTOUCHED);
    FAILS(PM_ERR_IO, pm_verify(store, why()));
    OK(pm_close(store, why()));
    store = open_with(path, 0);
    CHECK_INT(PM_STATE_ACTIVATED, state_of(store, "impostor"));
    check_store(store);
    close_store(store);
}

/* "K PATH": creates a store and dies at its K-th flush. */
static int die_in_a_flush(const char *argument) {
    unsigned k = 0;
    int at = 0;
    CHECK(sscanf(argument, "%u %n", &k, &at) == 1);
    fault_signal(FAULT_SYNC, k, SIGKILL);
    store = open_with(argument + at, 0);
    say("survived");
    close_store(store);
    return 0;
}

/* Starts a creator that dies at its k-th flush; 0 when it did not. */
static int creator_dies(unsigned k) {
    char argument[4096];
    char heard[32];
    struct peer peer;
    snprintf(argument, sizeof argument, "%u %s", k, path);
    peer = peer_start("die_in_a_flush", argument);
    if (peer_hear(&peer, heard, sizeof heard)) {
        peer_finish(&peer);
        return 0;
    }
    peer_kill(&peer);
    return 1;
}

/* The name of a store that nobody has written to may not be on the disk: who opens it sees to that. */
static void who_opens_a_new_store_makes_its_name_durable(void) {
    unsigned k;
    unsigned before;
    unsigned found = 0;
    path = place("pool.db");
    for (k = 0; creator_dies(k); k++) {
        if (access(path, F_OK) != 0) {
            continue;
        }
        /* It has its name, and the one who gave it did not get to flush the directory. */
        found++;
        before = directory_flushes();
        store = open_with(path, 0);
        CHECK(directory_flushes() > before);
        check_store(store);
        close_store(store);
        CHECK(unlink(path) == 0 && unlink(place("pool.db-lock")) == 0);
    }
    CHECK_INT(1, found);
    /* The last creator survived. Its store has no commits, and nobody can tell whether its name is on the disk. */
    before = directory_flushes();
    store = open_with(path, 0);
    CHECK(directory_flushes() > before);
    add(store, "base");
    close_store(store);
    /* Who committed has opened it before, so that has been seen to. */
    before = directory_flushes();
    store = open_with(path, 0);
    CHECK_INT(before, directory_flushes());
    close_store(store);
}

static const struct test tests[] = {
    NAMED(with_full_durability_every_failed_flush_but_for_want_of_room_stops_the_writes),
    NAMED(in_a_relaxed_store_every_failed_flush_stops_the_writes),
    NAMED(a_meta_page_that_cannot_be_written_stops_the_writes),
    NAMED(another_file_at_the_path_is_not_read_for_this_one),
    NAMED(who_opens_a_new_store_makes_its_name_durable),
};
static const struct role roles[] = {NAMED(die_in_a_flush)};
TEST_MAIN_WITH_ROLES(tests, roles)
