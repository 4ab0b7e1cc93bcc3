/*
 * Walks as C sees them: the struct that a callback is shown, pages of records in the caller's
 * buffer, lists of names. What the operations mean is in tests/meaning/walk.rs.
 */
#include "test.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static pm_store *store;

/* In byte order; some would come elsewhere if they were compared as signed characters. */
static const char *const sorted[] = { "\x01", "10", "9", "a", "aa", "b", "\x80", "\xff\xfe" };

static void open_pool(void) {
    size_t i;
    store = open_new("pool.db");
    for (i = COUNT(sorted); i-- > 0;) {
        add(store, sorted[i]);
    }
}

struct visit {
    size_t seen;
    size_t stop_at;
    int32_t code;
};

static int32_t in_order(const pm_device *device, void *user_data) {
    struct visit *visit = user_data;
    const char *wanted = sorted[visit->seen];
    CHECK_BYTES(wanted, strlen(wanted) + 1, device->name, device->name_len + 1);
    CHECK_INT(sizeof(pm_device), device->struct_size);
    CHECK(device->device_id >= 1 && device->size == 4096);
    CHECK(device->state == PM_STATE_ACTIVATED && device->owner == NULL);
    CHECK(device->parent_name_len == 0 && device->error_len == 0);
    visit->seen++;
    return visit->seen == visit->stop_at ? visit->code : 0;
}

static void callback_is_shown_every_device(void) {
    struct visit visit = { 0, 0, 0 };
    open_pool();
    OK(pm_walk_devices(store, in_order, &visit, why()));
    CHECK_INT(COUNT(sorted), visit.seen);
    visit.seen = 0;
    visit.stop_at = 3;
    visit.code = INT32_MIN;
    FAILS(PM_ERR_CALLBACK, pm_walk_devices(store, in_order, &visit, why()));
    CHECK_INT(INT32_MIN, told()->callback_code);
    CHECK_INT(3, visit.seen);
    close_store(store);
}

/* All pages of a walk with a buffer of that size; how many pages there were. */
static size_t walk_pages(size_t capacity) {
    unsigned char *buffer = aligned_alloc(8, (capacity + 8) / 8 * 8);
    pm_walk *walk = NULL;
    size_t seen = 0;
    size_t pages = 0;
    size_t count = 0;
    size_t needed = 77;
    CHECK(buffer != NULL);
    OK(pm_walk_open(store, &walk, why()));
    do {
        const pm_record *record = (const pm_record *)(const void *)buffer;
        size_t i;
        OK(pm_walk_next(walk, buffer, capacity, &count, &needed, why()));
        for (i = 0; i < count; i++) {
            const char *name = pm_record_name(record);
            const unsigned char *end = (const unsigned char *)record + record->record_size;
            const char *at = pm_record_error(record) + record->error_len;
            CHECK_BYTES(sorted[seen], strlen(sorted[seen]), name, record->name_len);
            CHECK(record->record_size % 8 == 0 && (size_t)(end - buffer) <= capacity);
            CHECK(name[record->name_len] == '\0');
            CHECK(pm_record_parent_name(record)[record->parent_name_len] == '\0');
            for (; at < (const char *)end; at++) {
                CHECK_INT('\0', *at);
            }
            CHECK(record->device_id >= 1 && record->size == 4096);
            CHECK_INT(PM_STATE_ACTIVATED, record->state);
            seen++;
            record = pm_record_next(record);
        }
        pages++;
    } while (count > 0);
    CHECK_INT(COUNT(sorted), seen);
    CHECK_INT(77, needed);
    /* After the end there is nothing, however often it is asked for. */
    count = 77;
    OK(pm_walk_next(walk, buffer, capacity, &count, NULL, why()));
    CHECK_INT(0, count);
    pm_walk_close(walk);
    free(buffer);
    return pages;
}

static void page_holds_as_many_records_as_fit(void) {
    open_pool();
    CHECK_INT(COUNT(sorted) + 1, walk_pages(48)); /* room for one record each */
    CHECK_INT(COUNT(sorted) + 1, walk_pages(95));
    CHECK_INT((COUNT(sorted) + 1) / 2 + 1, walk_pages(96));
    CHECK_INT(2, walk_pages(64 << 10));
    close_store(store);
}

static void page_that_is_too_small_loses_nothing(void) {
    pm_device device = device_named("middle");
    uint64_t buffer[512];
    pm_walk *walk = NULL;
    const pm_record *record = (const pm_record *)(const void *)buffer;
    size_t count = 77;
    size_t needed = 0;
    static char text[3000];
    store = open_new("pool.db");
    add(store, "first");
    memset(text, 'e', sizeof text);
    device.error = text;
    device.error_len = sizeof text;
    OK(pm_add_device(store, &device, why()));
    add(store, "zlast");
    OK(pm_walk_open(store, &walk, why()));
    FAILS(PM_ERR_BUFFER_TOO_SMALL, pm_walk_next(walk, NULL, 0, &count, &needed, why()));
    CHECK(count == 77 && needed == 48);
    OK(pm_walk_next(walk, buffer, 200, &count, &needed, why()));
    CHECK_INT(1, count);
    FAILS(PM_ERR_BUFFER_TOO_SMALL, pm_walk_next(walk, buffer, 200, &count, &needed, why()));
    FAILS(PM_ERR_BUFFER_TOO_SMALL, pm_walk_next(walk, buffer, needed - 1, &count, NULL, why()));
    CHECK(count == 1 && needed > sizeof text && needed <= sizeof buffer);
    OK(pm_walk_next(walk, buffer, needed, &count, NULL, why()));
    CHECK_INT(1, count);
    CHECK_TEXT("middle", pm_record_name(record), record->name_len);
    CHECK_BYTES(text, sizeof text, pm_record_error(record), record->error_len);
    OK(pm_walk_next(walk, buffer, sizeof buffer, &count, NULL, why()));
    CHECK_INT(1, count);
    CHECK_TEXT("zlast", pm_record_name(record), record->name_len);
    FAILS(PM_ERR_INVALID_ARGUMENT,
          pm_walk_next(walk, (char *)buffer + 1, 512, &count, NULL, why()));
    FAILS(PM_ERR_INVALID_ARGUMENT, pm_walk_next(walk, NULL, 8, &count, NULL, why()));
    OK(pm_walk_next(walk, buffer, sizeof buffer, &count, NULL, why()));
    CHECK_INT(0, count);
    pm_walk_close(walk);
    pm_walk_close(NULL);
    close_store(store);
}

static void names_end_in_a_nul_and_outlive_the_store(void) {
    pm_names *names = NULL;
    size_t i;
    open_pool();
    OK(pm_get_device_names(store, &names, why()));
    close_store(store);
    CHECK_INT(COUNT(sorted), names->count);
    for (i = 0; i < names->count; i++) {
        const pm_name *name = &names->names[i];
        CHECK_BYTES(sorted[i], strlen(sorted[i]) + 1, name->name, name->name_len + 1);
    }
    pm_free(names);
    pm_free(NULL);
}

/* The sound devices before the damaged one are handed out first. */
static void damaged_record_ends_a_walk_by_pages(void) {
    const char *path = place("pool.db");
    pm_options options = PM_OPTIONS_INIT;
    pm_device device = device_named("m");
    pm_walk *walk = NULL;
    uint64_t buffer[64];
    size_t count = 77;
    store = open_with(path, 0);
    add(store, "a");
    add(store, "z");
    device.error = "another needle";
    device.error_len = strlen(device.error);
    OK(pm_add_device(store, &device, why()));
    close_store(store);
    damage(path, "another needle");
    options.verify = PM_VERIFY_NONE;
    OK(pm_open(PM_CSTR(path), &options, &store, why()));
    OK(pm_walk_open(store, &walk, why()));
    OK(pm_walk_next(walk, buffer, sizeof buffer, &count, NULL, why()));
    CHECK_INT(1, count);
    CHECK_TEXT("a", pm_record_name((const pm_record *)(const void *)buffer), 1);
    FAILS(PM_ERR_CORRUPT, pm_walk_next(walk, buffer, sizeof buffer, &count, NULL, why()));
    CHECK_INT(1, count);
    OK(pm_walk_next(walk, buffer, sizeof buffer, &count, NULL, why()));
    CHECK_INT(0, count);
    pm_walk_close(walk);
    OK(pm_close(store, why()));
}

static void call_without_a_reader_slot_leaves_the_outputs_alone(void) {
    pm_options options = PM_OPTIONS_INIT;
    pm_walk *walks[129];
    pm_walk *one_more = UNTOUCHED;
    pm_names *names = UNTOUCHED;
    size_t open = 0;
    options.max_readers = 128;
    options.lock_wait_ms = 30;
    OK(pm_open(PM_CSTR(place("pool.db")), &options, &store, why()));
    while (open < COUNT(walks) && pm_walk_open(store, &walks[open], NULL) == PM_OK) {
        open++;
    }
    FAILS(PM_ERR_READERS_FULL, pm_walk_open(store, &one_more, why()));
    FAILS(PM_ERR_READERS_FULL, pm_get_device_names(store, &names, why()));
    CHECK(one_more == UNTOUCHED && names == UNTOUCHED);
    while (open > 0) {
        pm_walk_close(walks[--open]);
    }
    close_store(store);
}

struct sharing {
    pm_walk *walk;
    unsigned char *page;
    size_t size;
    volatile int busy;
};

static void *next_all(void *user_data) {
    struct sharing *sharing = user_data;
    size_t count = 1;
    while (count > 0) {
        int32_t status =
            pm_walk_next(sharing->walk, sharing->page, sharing->size, &count, NULL, NULL);
        if (status == PM_ERR_BUSY) {
            __atomic_add_fetch(&sharing->busy, 1, __ATOMIC_RELAXED);
            count = 1;
        } else {
            CHECK_INT(PM_OK, status);
        }
    }
    return NULL;
}

/* Neither of two threads that use one walk harms the other. Repeated until they have met. */
static void walk_that_another_thread_uses_is_busy(void) {
    static char text[500 << 10];
    struct sharing sharings[2];
    pthread_t thread;
    unsigned round;
    unsigned i;
    open_pool();
    memset(text, 'e', sizeof text);
    for (i = 0; i < 8; i++) {
        char name[16];
        pm_device device;
        snprintf(name, sizeof name, "large-%u", i);
        device = device_named(name);
        device.error = text;
        device.error_len = sizeof text;
        OK(pm_add_device(store, &device, why()));
    }
    for (i = 0; i < 2; i++) {
        sharings[i].size = 1 << 20;
        sharings[i].page = malloc(sharings[i].size);
        sharings[i].busy = 0;
        CHECK(sharings[i].page != NULL);
    }
    for (round = 0; sharings[0].busy + sharings[1].busy == 0; round++) {
        pm_walk *walk = NULL;
        CHECK(round < 10000);
        OK(pm_walk_open(store, &walk, why()));
        sharings[0].walk = sharings[1].walk = walk;
        CHECK(pthread_create(&thread, NULL, next_all, &sharings[0]) == 0);
        next_all(&sharings[1]);
        CHECK(pthread_join(thread, NULL) == 0);
        pm_walk_close(walk);
    }
    free(sharings[0].page);
    free(sharings[1].page);
    close_store(store);
}

static const struct test tests[] = {
    NAMED(callback_is_shown_every_device),
    NAMED(page_holds_as_many_records_as_fit),
    NAMED(page_that_is_too_small_loses_nothing),
    NAMED(names_end_in_a_nul_and_outlive_the_store),
    NAMED(damaged_record_ends_a_walk_by_pages),
    NAMED(call_without_a_reader_slot_leaves_the_outputs_alone),
    NAMED(walk_that_another_thread_uses_is_busy),
};
TEST_MAIN(tests)
