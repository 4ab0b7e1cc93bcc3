/* A store after a fork: the child may not use its parent's, and may open its own. */
#include "test.h"

#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

static pm_store *store;
static pm_update *open_update;
static pm_device *record;
static pm_walk *open_walk;

/* Runs the rest of the test's check in a forked child, which has to end well. */
static void in_a_child(void (*run)(void)) {
    pid_t child;
    fflush(stdout);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        run();
        end_child();
    }
    wait_for(child);
}

static int32_t never(pm_device *device, void *unused) {
    (void)device;
    (void)unused;
    CHECK(!"an update's callback in the child");
    return 0;
}

static int32_t never_shown(const pm_device *device, void *unused) {
    (void)device;
    (void)unused;
    CHECK(!"a walk's callback in the child");
    return 0;
}

static void everything_is_refused(void) {
    pm_device device = device_named("new");
    pm_stats stats = PM_STATS_INIT;
    pm_ids ids = PM_IDS_INIT;
    void *out = UNTOUCHED;
    uint64_t buffer[64];
    size_t count = 77;
    double start = seconds();
    FAILS(PM_ERR_FORKED, pm_sync(store, why()));
    CHECK(strstr(told()->message, "fork") != NULL);
    FAILS(PM_ERR_FORKED, pm_verify(store, why()));
    FAILS(PM_ERR_FORKED, pm_get_stats(store, &stats, why()));
    FAILS(PM_ERR_FORKED, pm_add_device(store, &device, why()));
    FAILS(PM_ERR_FORKED, pm_get_device(store, PM_LIT("base"), (pm_device **)&out, why()));
    FAILS(PM_ERR_FORKED, pm_get_device(store, PM_LIT(""), (pm_device **)&out, why()));
    FAILS(PM_ERR_FORKED, pm_read_device(store, PM_LIT("base"), buffer, sizeof buffer, NULL, why()));
    FAILS(PM_ERR_FORKED, pm_change_device_state(store, PM_LIT("base"), 1, why()));
    FAILS(PM_ERR_FORKED, pm_mark_faulty(store, PM_LIT("base"), why()));
    FAILS(PM_ERR_FORKED, pm_remove_device(store, PM_LIT("base"), why()));
    FAILS(PM_ERR_FORKED, pm_update_device(store, PM_LIT("base"), never, NULL, why()));
    FAILS(PM_ERR_FORKED,
          pm_update_begin(store, PM_LIT("base"), (pm_update **)&out, (pm_device **)&out, why()));
    FAILS(PM_ERR_FORKED, pm_walk_devices(store, never_shown, NULL, why()));
    FAILS(PM_ERR_FORKED, pm_walk_open(store, (pm_walk **)&out, why()));
    FAILS(PM_ERR_FORKED, pm_get_device_names(store, (pm_names **)&out, why()));
    FAILS(PM_ERR_FORKED, pm_get_running_reads(store, (pm_running_reads **)&out, why()));
    FAILS(PM_ERR_FORKED, pm_import(store, NULL, 0, &ids, why()));
    FAILS(PM_ERR_FORKED, apply_one(store, PM_CHANGE_ADD, &device, why()));
    FAILS(PM_ERR_FORKED, pm_apply(store, NULL, 0, NULL, why()));
    FAILS(PM_ERR_FORKED, pm_check(store, 0, (pm_report **)&out, why()));
    FAILS(PM_ERR_FORKED, pm_backup(store, PM_LIT("/nowhere/copy.db"), 0, why()));
    /* What was begun before the fork as well. */
    FAILS(PM_ERR_FORKED, pm_walk_next(open_walk, buffer, sizeof buffer, &count, NULL, why()));
    FAILS(PM_ERR_FORKED, pm_walk_get_ids(open_walk, (pm_ids **)&out, why()));
    FAILS(PM_ERR_FORKED, pm_update_commit(open_update, why()));
    pm_walk_close(open_walk);
    FAILS(PM_ERR_FORKED, pm_close(store, why()));
    FAILS(PM_ERR_FORKED, pm_close(store, why()));
    CHECK(out == UNTOUCHED && count == 77 && device.device_id == 0 && stats.devices == 0);
    CHECK(seconds() - start < 5);
}

static void open_pool(void) {
    store = open_new("pool.db");
    add(store, "base");
    add(store, "held");
    OK(pm_update_begin(store, PM_LIT("held"), &open_update, &record, why()));
    OK(pm_walk_open(store, &open_walk, why()));
}

static void close_pool(void) {
    uint64_t page[64];
    size_t count = 0;
    /* The parent's walk and update have not suffered. */
    OK(pm_walk_next(open_walk, page, sizeof page, &count, NULL, why()));
    CHECK_INT(2, count);
    pm_walk_close(open_walk);
    record->state = PM_STATE_REMOVED;
    OK(pm_update_commit(open_update, why()));
    CHECK_INT(PM_STATE_REMOVED, state_of(store, "held"));
    close_store(store);
}

static void forked_child_is_refused_every_call(void) {
    open_pool();
    in_a_child(everything_is_refused);
    in_a_child(everything_is_refused);
    close_pool();
}

static void abort_and_open_anew(void) {
    pm_store *own;
    pm_update_abort(open_update);
    FAILS(PM_ERR_FORKED, pm_close(store, why()));
    own = open_with(place("pool.db"), 0);
    CHECK_INT(3, add(own, "by the child"));
    CHECK_INT(PM_STATE_ACTIVATED, state_of(own, "base"));
    FAILS(PM_ERR_FORKED, pm_verify(store, why()));
    close_store(own);
}

static void forked_child_opens_the_store_itself(void) {
    open_pool();
    in_a_child(abort_and_open_anew);
    CHECK_INT(PM_STATE_ACTIVATED, state_of(store, "by the child"));
    CHECK_INT(4, add(store, "by the parent"));
    close_pool();
}

/* A fork in an update's callback: the child is as little in that update as in any other. */
static int32_t fork_inside(pm_device *device, void *unused) {
    (void)unused;
    in_a_child(abort_and_open_anew);
    device->state = PM_STATE_SUSPENDED;
    return 0;
}

static void child_forked_inside_a_callback_opens_the_store(void) {
    open_pool();
    OK(pm_update_device(store, PM_LIT("base"), fork_inside, NULL, why()));
    CHECK_INT(PM_STATE_SUSPENDED, state_of(store, "base"));
    close_pool();
}

/*
 * AddressSanitizer's allocator in gcc 12 and clang 14 does not take its locks before a fork. If
 * another thread holds one at that moment, the child's next allocation waits without end.
 */
#if defined(__SANITIZE_ADDRESS__)
#define FORK_SAFE_MALLOC 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FORK_SAFE_MALLOC 0
#endif
#endif
#ifndef FORK_SAFE_MALLOC
#define FORK_SAFE_MALLOC 1
#endif

#if FORK_SAFE_MALLOC
static int stop;

static void *use_all_the_time(void *name) {
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        pm_device *device = NULL;
        OK(pm_change_device_state(store, PM_CSTR((const char *)name), PM_STATE_CREATED, why()));
        OK(pm_get_device(store, PM_CSTR((const char *)name), &device, why()));
        pm_free(device);
    }
    return NULL;
}

static void refused_and_opens_anew(void) {
    pm_store *own;
    pm_device *device = UNTOUCHED;
    FAILS(PM_ERR_FORKED, pm_get_device(store, PM_LIT("base"), &device, why()));
    FAILS(PM_ERR_FORKED, pm_mark_faulty(store, PM_LIT("base"), why()));
    own = open_with(place("pool.db"), 0);
    OK(pm_mark_faulty(own, PM_LIT("base"), why()));
    close_store(own);
}

/* The child does not wait for locks that other threads held at the moment of the fork. */
static void child_forked_beside_busy_threads_waits_for_none(void) {
    static const char *const names[] = { "a", "b", "c" };
    pthread_t threads[COUNT(names)];
    unsigned rounds = scaled(30);
    unsigned i;
    store = open_new("pool.db");
    add(store, "base");
    stop = 0;
    for (i = 0; i < COUNT(names); i++) {
        add(store, names[i]);
    }
    for (i = 0; i < COUNT(names); i++) {
        CHECK(pthread_create(&threads[i], NULL, use_all_the_time,
                             (void *)(uintptr_t)names[i]) == 0);
    }
    for (i = 0; i < rounds; i++) {
        in_a_child(refused_and_opens_anew);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    for (i = 0; i < COUNT(names); i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    CHECK_INT(PM_STATE_FAULTY, state_of(store, "base"));
    close_store(store);
}
#endif

static const struct test tests[] = {
    NAMED(forked_child_is_refused_every_call),
    NAMED(forked_child_opens_the_store_itself),
    NAMED(child_forked_inside_a_callback_opens_the_store),
#if FORK_SAFE_MALLOC
    NAMED(child_forked_beside_busy_threads_waits_for_none),
#endif
};
TEST_MAIN(tests)
