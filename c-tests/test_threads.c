/*
 * Eight threads at once in every function, and threads that meet a store being closed: for
 * ThreadSanitizer and memcheck. What comes of it is in tests/meaning/threads.rs and handle.rs.
 */
#include "test.h"

#include <pthread.h>
#include <stdint.h>
#include <string.h>

#define THREADS 8

static pm_store *store;

static void start(pthread_t *threads, void *(*run)(void *)) {
    static unsigned numbers[THREADS];
    unsigned i;
    for (i = 0; i < THREADS; i++) {
        numbers[i] = i;
        CHECK(pthread_create(&threads[i], NULL, run, &numbers[i]) == 0);
    }
}

static void join(pthread_t *threads) {
    unsigned i;
    for (i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
}

static int32_t add_one(pm_device *device, void *unused) {
    (void)unused;
    device->size++;
    return 0;
}

static int is_ok_or(int32_t status, int32_t other) {
    return status == PM_OK || status == other;
}

static int32_t count_devices(const pm_device *device, void *count) {
    CHECK(device->name_len > 0 && device->device_id > 0);
    ++*(unsigned *)count;
    return 0;
}

/* Every device that is there, by the three ways of listing them. */
static void look_at_all(void) {
    pm_names *names = NULL;
    pm_walk *walk = NULL;
    pm_ids *ids = NULL;
    pm_stats stats = PM_STATS_INIT;
    static __thread uint64_t page[8192];
    size_t count = 1;
    unsigned seen = 0;
    OK(pm_walk_devices(store, count_devices, &seen, why()));
    CHECK(seen >= 1);
    OK(pm_get_device_names(store, &names, why()));
    CHECK(names->count >= 1);
    pm_free(names);
    OK(pm_walk_open(store, &walk, why()));
    OK(pm_walk_get_ids(walk, &ids, why()));
    CHECK(ids->last_id >= 1);
    pm_free(ids);
    while (count > 0) {
        OK(pm_walk_next(walk, page, sizeof page, &count, NULL, why()));
    }
    pm_walk_close(walk);
    OK(pm_get_stats(store, &stats, why()));
    OK(pm_verify(store, why()));
    OK(pm_sync(store, why()));
}

/* Operations on names that all threads share, and that come and go under them. */
static void *do_everything(void *number) {
    unsigned steps = scaled(400);
    unsigned state = 12345 + *(unsigned *)number;
    unsigned i;
    for (i = 0; i < steps; i++) {
        char name[16];
        pm_device device;
        pm_device *got = NULL;
        uint64_t buffer[64];
        int32_t status;
        state = state * 1103515245u + 12345u;
        snprintf(name, sizeof name, "shared-%u", state >> 16 & 7);
        device = device_named(name);
        switch (state >> 24 & 15) {
        case 0:
            status = pm_add_device(store, &device, NULL);
            CHECK(is_ok_or(status, PM_ERR_ALREADY_EXISTS));
            CHECK((status == PM_OK) == (device.device_id != 0));
            break;
        case 1:
            CHECK(is_ok_or(pm_remove_device(store, PM_CSTR(name), NULL), PM_ERR_NOT_FOUND));
            break;
        case 2:
            CHECK(is_ok_or(pm_mark_faulty(store, PM_CSTR(name), NULL), PM_ERR_NOT_FOUND));
            break;
        case 3:
            status = pm_change_device_state(store, PM_CSTR(name), PM_STATE_CREATED, NULL);
            CHECK(is_ok_or(status, PM_ERR_NOT_FOUND));
            break;
        case 4:
            status = pm_update_device(store, PM_CSTR(name), add_one, NULL, NULL);
            CHECK(is_ok_or(status, PM_ERR_NOT_FOUND));
            break;
        case 5:
            status = pm_get_device(store, PM_CSTR(name), &got, NULL);
            CHECK(is_ok_or(status, PM_ERR_NOT_FOUND));
            CHECK((status == PM_OK) == (got != NULL));
            pm_free(got);
            break;
        case 6:
            status = apply_one(store, PM_CHANGE_REMOVE, &device, NULL);
            CHECK(is_ok_or(status, PM_ERR_NOT_FOUND));
            break;
        case 7:
            status = apply_one(store, PM_CHANGE_ADD, &device, NULL);
            CHECK(is_ok_or(status, PM_ERR_ALREADY_EXISTS));
            break;
        case 8:
            status = pm_read_device(store, PM_CSTR(name), buffer, sizeof buffer, NULL, NULL);
            CHECK(is_ok_or(status, PM_ERR_NOT_FOUND));
            break;
        default:
            look_at_all();
        }
    }
    return NULL;
}

static void every_function_is_called_by_many_threads(void) {
    pthread_t threads[THREADS];
    store = open_new("pool.db");
    add(store, "always there");
    start(threads, do_everything);
    join(threads);
    close_store(store);
    close_store(open_with(place("pool.db"), 0));
}

static void *use_until_closed(void *number) {
    unsigned thread = *(unsigned *)number;
    int32_t status;
    do {
        pm_device *got = NULL;
        pm_names *names = NULL;
        pm_update *update = NULL;
        pm_stats stats = PM_STATS_INIT;
        switch (thread % 5) {
        case 0:
            status = pm_get_device(store, PM_LIT("base"), &got, NULL);
            pm_free(got);
            break;
        case 1:
            status = pm_change_device_state(store, PM_LIT("base"), PM_STATE_CREATED, NULL);
            break;
        case 2:
            status = pm_get_device_names(store, &names, NULL);
            pm_free(names);
            break;
        case 3:
            status = pm_get_stats(store, &stats, NULL);
            break;
        default:
            status = pm_update_begin(store, PM_LIT("other"), &update, &got, NULL);
            if (status == PM_OK) {
                status = pm_update_commit(update, NULL);
            }
        }
    } while (status == PM_OK);
    CHECK_INT(PM_ERR_CLOSED, status);
    return NULL;
}

/* Calls in flight finish; those that come later find the store closed; nothing crashes. */
static void store_is_closed_under_threads_that_use_it(void) {
    pthread_t threads[THREADS];
    unsigned rounds = scaled(12);
    unsigned i;
    for (i = 0; i < rounds; i++) {
        store = open_new("pool.db");
        if (i == 0) {
            add(store, "base");
            add(store, "other");
        }
        start(threads, use_until_closed);
        sleep_ms(i % 8);
        OK(pm_close(store, why()));
        join(threads);
    }
    close_store(open_new("pool.db"));
}

static const struct test tests[] = {
    NAMED(every_function_is_called_by_many_threads),
    NAMED(store_is_closed_under_threads_that_use_it),
};
TEST_MAIN(tests)
