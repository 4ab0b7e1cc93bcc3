/* Threads that are cancelled: the call that they are in ends first, and leaves nothing locked. */
#include "test.h"

#include <pthread.h>
#include <string.h>

static pm_store *store;
/* Whether a callback runs, and whether its thread has been cancelled since. */
static int inside, sent;

static void cancel(pthread_t thread) {
    void *result = NULL;
    CHECK(pthread_cancel(thread) == 0);
    __atomic_store_n(&sent, 1, __ATOMIC_SEQ_CST);
    CHECK(pthread_join(thread, &result) == 0);
    CHECK(result == PTHREAD_CANCELED);
}

/*
 * Threads end in functions that have only numbers on their stacks. AddressSanitizer poisons the
 * stack around arrays and structs, and a thread that is cancelled does not unpoison it, so the code
 * that runs at its end would hit that.
 */
__attribute__((noinline)) static void use_it_once(int32_t state) {
    pm_names *names = NULL;
    OK(pm_change_device_state(store, PM_LIT("base"), state, why()));
    OK(pm_get_device_names(store, &names, why()));
    pm_free(names);
}

static void *use_it(void *unused) {
    int32_t i;
    for (i = 0;; i++) {
        use_it_once(i % 12);
        pthread_testcancel();
    }
    return unused;
}

static void thread_is_cancelled_between_calls_only(void) {
    unsigned rounds = scaled(100);
    unsigned i;
    store = open_new("pool.db");
    add(store, "base");
    for (i = 0; i < rounds; i++) {
        pthread_t threads[2];
        CHECK(pthread_create(&threads[0], NULL, use_it, NULL) == 0);
        CHECK(pthread_create(&threads[1], NULL, use_it, NULL) == 0);
        sleep_ms(i % 4);
        cancel(threads[0]);
        cancel(threads[1]);
        OK(pm_change_device_state(store, PM_LIT("base"), PM_STATE_CREATED, why()));
    }
    close_store(store);
}

/* Sleeps until the thread has been cancelled, and once more: there it would end, if it could. */
static void be_cancelled(void) {
    __atomic_store_n(&inside, 1, __ATOMIC_SEQ_CST);
    while (!__atomic_load_n(&sent, __ATOMIC_SEQ_CST)) {
        sleep_ms(1);
    }
    sleep_ms(1);
}

static int32_t change_slowly(pm_device *device, void *unused) {
    (void)unused;
    be_cancelled();
    device->size = 7;
    return 0;
}

static int32_t look_slowly(const pm_device *device, void *seen) {
    be_cancelled();
    *(int *)seen = device->size == 7;
    return 0;
}

__attribute__((noinline)) static void update_once(void *done) {
    OK(pm_update_device(store, PM_LIT("base"), change_slowly, NULL, why()));
    *(int *)done = 1;
}

__attribute__((noinline)) static void walk_once(void *seen) {
    OK(pm_walk_devices(store, look_slowly, seen, why()));
}

static void *update_it(void *done) {
    update_once(done);
    pthread_testcancel();
    return NULL;
}

static void *walk_it(void *seen) {
    walk_once(seen);
    pthread_testcancel();
    return NULL;
}

static void callback_is_not_cancelled(void) {
    void *(*const runs[])(void *) = {update_it, walk_it};
    unsigned i;
    store = open_new("pool.db");
    add(store, "base");
    for (i = 0; i < COUNT(runs); i++) {
        pthread_t thread;
        int done = 0;
        __atomic_store_n(&inside, 0, __ATOMIC_SEQ_CST);
        __atomic_store_n(&sent, 0, __ATOMIC_SEQ_CST);
        CHECK(pthread_create(&thread, NULL, runs[i], &done) == 0);
        while (!__atomic_load_n(&inside, __ATOMIC_SEQ_CST)) {
            sleep_ms(1);
        }
        cancel(thread);
        CHECK(done);
    }
    close_store(store);
}

/* A thread that could not be cancelled before a call cannot be after it. */
static void cancel_state_of_the_caller_is_kept(void) {
    pm_device *found = NULL;
    int state = -1;
    store = open_new("pool.db");
    add(store, "base");
    CHECK(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state) == 0);
    CHECK_INT(PTHREAD_CANCEL_ENABLE, state);
    OK(pm_get_device(store, PM_LIT("base"), &found, why()));
    pm_free(found);
    CHECK(pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &state) == 0);
    CHECK_INT(PTHREAD_CANCEL_DISABLE, state);
    FAILS(PM_ERR_NOT_FOUND, pm_mark_faulty(store, PM_LIT("none"), why()));
    CHECK(pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &state) == 0);
    CHECK_INT(PTHREAD_CANCEL_ENABLE, state);
    close_store(store);
}

static const struct test tests[] = {
    NAMED(thread_is_cancelled_between_calls_only),
    NAMED(callback_is_not_cancelled),
    NAMED(cancel_state_of_the_caller_is_kept),
};
TEST_MAIN(tests)
