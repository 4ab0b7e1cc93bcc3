/* Eight threads at once, on everything; and threads that meet a store being closed. */
#include "test.h"

#include <pthread.h>
#include <stdint.h>
#include <string.h>

#define THREADS 8

static pm_store *store;
static int stop;

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

static void add_one_in_two_phases(void) {
    pm_update *update = NULL;
    pm_device *device = NULL;
    OK(pm_update_begin(store, PM_LIT("counter"), &update, &device, why()));
    device->size++;
    OK(pm_update_commit(update, why()));
}

static int32_t fail_after_changing(pm_device *device, void *unused) {
    (void)unused;
    device->size = 0;
    return -1;
}

static void *count_up(void *number) {
    unsigned steps = scaled(300);
    unsigned i;
    for (i = 0; i < steps; i++) {
        if ((i + *(unsigned *)number) % 2 == 0) {
            OK(pm_update_device(store, PM_LIT("counter"), add_one, NULL, why()));
        } else {
            add_one_in_two_phases();
        }
        if (i % 16 == 0) {
            FAILS(PM_ERR_CALLBACK,
                  pm_update_device(store, PM_LIT("counter"), fail_after_changing, NULL, why()));
        }
    }
    return NULL;
}

static void no_update_is_lost(void) {
    pthread_t threads[THREADS];
    pm_device device = device_named("counter");
    pm_device *found = NULL;
    store = open_new("pool.db");
    OK(pm_add_device(store, &device, why()));
    start(threads, count_up);
    join(threads);
    OK(pm_get_device(store, PM_LIT("counter"), &found, why()));
    CHECK_INT(THREADS * scaled(300), found->size);
    pm_free(found);
    close_store(store);
}

static int is_any_of(int32_t status, int32_t first, int32_t second) {
    return status == PM_OK || status == first || status == second;
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
            CHECK(is_any_of(status, PM_ERR_ALREADY_EXISTS, PM_OK));
            CHECK((status == PM_OK) == (device.device_id != 0));
            break;
        case 1:
            CHECK(is_any_of(pm_remove_device(store, PM_CSTR(name), NULL), PM_ERR_NOT_FOUND, PM_OK));
            break;
        case 2:
            CHECK(is_any_of(pm_mark_faulty(store, PM_CSTR(name), NULL), PM_ERR_NOT_FOUND, PM_OK));
            break;
        case 3:
            status = pm_change_device_state(store, PM_CSTR(name), PM_STATE_CREATED, NULL);
            CHECK(is_any_of(status, PM_ERR_NOT_FOUND, PM_OK));
            break;
        case 4:
            status = pm_update_device(store, PM_CSTR(name), add_one, NULL, NULL);
            CHECK(is_any_of(status, PM_ERR_NOT_FOUND, PM_OK));
            break;
        case 5:
            status = pm_get_device(store, PM_CSTR(name), &got, NULL);
            CHECK(is_any_of(status, PM_ERR_NOT_FOUND, PM_OK));
            CHECK((status == PM_OK) == (got != NULL));
            pm_free(got);
            break;
        case 6:
            status = apply_one(store, PM_CHANGE_REMOVE, &device, NULL);
            CHECK(is_any_of(status, PM_ERR_NOT_FOUND, PM_OK));
            break;
        case 7:
            status = apply_one(store, PM_CHANGE_ADD, &device, NULL);
            CHECK(is_any_of(status, PM_ERR_ALREADY_EXISTS, PM_OK));
            break;
        case 8:
            status = pm_read_device(store, PM_CSTR(name), buffer, sizeof buffer, NULL, NULL);
            CHECK(is_any_of(status, PM_ERR_NOT_FOUND, PM_OK));
            break;
        default:
            look_at_all();
        }
    }
    return NULL;
}

static void all_operations_at_once(void) {
    pthread_t threads[THREADS];
    store = open_new("pool.db");
    add(store, "always there");
    start(threads, do_everything);
    join(threads);
    close_store(store);
    close_store(open_with(place("pool.db"), 0));
}

/* Each thread's own devices: what it has just written is what it reads. */
static void *own_devices(void *number) {
    unsigned steps = scaled(150);
    unsigned i;
    for (i = 0; i < steps; i++) {
        char name[32];
        pm_device device;
        pm_device *got = NULL;
        snprintf(name, sizeof name, "own-%u-%u", *(unsigned *)number, i);
        device = device_named(name);
        device.size = i;
        OK(pm_add_device(store, &device, why()));
        OK(pm_get_device(store, PM_CSTR(name), &got, why()));
        CHECK(got->device_id == device.device_id && got->size == i &&
              got->generation == device.generation);
        pm_free(got);
        if (i % 3 == 0) {
            OK(pm_remove_device(store, PM_CSTR(name), why()));
        }
    }
    return NULL;
}

static void ids_are_given_out_once(void) {
    pthread_t threads[THREADS];
    unsigned steps = scaled(150);
    store = open_new("pool.db");
    start(threads, own_devices);
    join(threads);
    CHECK_INT(THREADS * (steps - (steps + 2) / 3), device_count(store));
    close_store(store); /* which checks that no two devices share an id */
}

/* A map that is far too small grows while others read and write. */
static void *fill_map(void *number) {
    static const char text[40000] = "large";
    unsigned steps = scaled(40);
    unsigned i;
    for (i = 0; i < steps; i++) {
        char name[32];
        pm_device device;
        pm_device *got = NULL;
        snprintf(name, sizeof name, "big-%u-%u", *(unsigned *)number, i);
        device = device_named(name);
        device.error = text;
        device.error_len = sizeof text;
        OK(pm_add_device(store, &device, why()));
        OK(pm_get_device(store, PM_CSTR(name), &got, why()));
        CHECK_BYTES(text, sizeof text, got->error, got->error_len);
        pm_free(got);
        look_at_all();
    }
    return NULL;
}

static void a_map_grows_under_readers_and_writers(void) {
    pm_options options = PM_OPTIONS_INIT;
    pm_stats stats = PM_STATS_INIT;
    pthread_t threads[THREADS];
    options.map_size = 1 << 20;
    OK(pm_open(PM_CSTR(place("pool.db")), &options, &store, why()));
    add(store, "base");
    start(threads, fill_map);
    join(threads);
    OK(pm_get_stats(store, &stats, why()));
    CHECK(stats.map_size > 1 << 20);
    close_store(store);
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
static void closing_under_use(void) {
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

/* Reads for as long as the main thread waits for something; none of them may wait with it. */
static void *read_without_a_wait(void *longest) {
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        pm_stats stats = PM_STATS_INIT;
        double start_time = seconds();
        double took;
        CHECK_INT(PM_STATE_ACTIVATED, state_of(store, "base"));
        OK(pm_get_stats(store, &stats, why()));
        took = seconds() - start_time;
        if (took > *(double *)longest) {
            *(double *)longest = took;
        }
    }
    return NULL;
}

/* An open walk delays a close and growth of the map; a thread that waits for it delays no reader. */
static void reads_go_on_while_others_wait_for_a_walk(void) {
    static char text[600 << 10];
    pm_options options = PM_OPTIONS_INIT;
    pm_device device = device_named("large");
    pm_walk *walk = NULL;
    pthread_t reader;
    double longest = 0;
    options.map_size = 1 << 20;
    options.lock_wait_ms = 3000;
    OK(pm_open(PM_CSTR(place("pool.db")), &options, &store, why()));
    add(store, "base");
    device.error = text;
    device.error_len = sizeof text;
    OK(pm_add_device(store, &device, why()));
    OK(pm_walk_open(store, &walk, why()));
    stop = 0;
    CHECK(pthread_create(&reader, NULL, read_without_a_wait, &longest) == 0);
    device.name = "extra";
    FAILS(PM_ERR_TIMEOUT, pm_add_device(store, &device, why()));
    CHECK(strstr(told()->message, "walk") != NULL);
    FAILS(PM_ERR_BUSY, pm_close(store, why()));
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    CHECK(pthread_join(reader, NULL) == 0);
    CHECK(longest < 2);
    pm_walk_close(walk);
    OK(pm_add_device(store, &device, why()));
    close_store(store);
}

static void *close_it(void *outcome) {
    *(int32_t *)outcome = pm_close(store, NULL);
    return NULL;
}

static void of_many_that_close_one_does(void) {
    pthread_t threads[THREADS];
    int32_t outcomes[THREADS];
    unsigned closed = 0;
    unsigned i;
    store = open_new("pool.db");
    for (i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&threads[i], NULL, close_it, &outcomes[i]) == 0);
    }
    join(threads);
    for (i = 0; i < THREADS; i++) {
        CHECK(outcomes[i] == PM_OK || outcomes[i] == PM_ERR_CLOSED);
        closed += outcomes[i] == PM_OK;
    }
    CHECK_INT(1, closed);
}

static void *open_it(void *opened) {
    pm_store *mine = NULL;
    int32_t status = pm_open(PM_CSTR(place("pool.db")), NULL, &mine, NULL);
    CHECK(status == PM_OK || status == PM_ERR_ALREADY_OPEN);
    *(pm_store **)opened = mine;
    return NULL;
}

static void of_many_that_open_one_does(void) {
    pthread_t threads[THREADS];
    pm_store *opened[THREADS];
    unsigned rounds = scaled(10);
    unsigned round;
    CHECK(place("pool.db") != NULL); /* made before the threads ask for it */
    for (round = 0; round < rounds; round++) {
        unsigned count = 0;
        unsigned i;
        for (i = 0; i < THREADS; i++) {
            CHECK(pthread_create(&threads[i], NULL, open_it, &opened[i]) == 0);
        }
        join(threads);
        for (i = 0; i < THREADS; i++) {
            if (opened[i] != NULL) {
                count++;
                close_store(opened[i]);
            }
        }
        CHECK_INT(1, count);
    }
}

static const struct test tests[] = {
    NAMED(no_update_is_lost),
    NAMED(all_operations_at_once),
    NAMED(ids_are_given_out_once),
    NAMED(a_map_grows_under_readers_and_writers),
    NAMED(closing_under_use),
    NAMED(reads_go_on_while_others_wait_for_a_walk),
    NAMED(of_many_that_close_one_does),
    NAMED(of_many_that_open_one_does),
};
TEST_MAIN(tests)
