/* Walks: with a callback, page by page, and names only. */
#include "test.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static pm_store *store;

/* Names in byte order, among them ones that would come elsewhere as signed characters or as numbers. */
static const char *const sorted[] = { "\x01", "10", "9", "B", "a", "a/", "aa", "b", "\x7f", "\x80", "\xff\xfe" };

static void open_pool(void) {
    static const int order[] = { 7, 2, 10, 0, 5, 9, 4, 1, 8, 3, 6 };
    size_t i;
    store = open_new("pool.db");
    for (i = 0; i < COUNT(order); i++) {
        add(store, sorted[order[i]]);
    }
}

struct visit {
    size_t seen;
    size_t stop_at;
    int32_t code;
};

static int32_t in_order(const pm_device *device, void *user_data) {
    struct visit *visit = user_data;
    CHECK(visit->seen < COUNT(sorted));
    CHECK_BYTES(sorted[visit->seen], strlen(sorted[visit->seen]), device->name, device->name_len);
    CHECK_INT('\0', device->name[device->name_len]);
    CHECK_INT(sizeof(pm_device), device->struct_size);
    CHECK(device->device_id >= 1 && device->size == 4096 && device->state == PM_STATE_ACTIVATED);
    CHECK(device->parent_name_len == 0 && device->error_len == 0 && device->owner == NULL);
    visit->seen++;
    return visit->seen == visit->stop_at ? visit->code : 0;
}

static void every_device_in_byte_order(void) {
    struct visit visit = { 0, 0, 0 };
    open_pool();
    OK(pm_walk_devices(store, in_order, &visit, why()));
    CHECK_INT(COUNT(sorted), visit.seen);
    close_store(store);
}

static void a_callback_that_fails_ends_the_walk(void) {
    static const int32_t codes[] = { 1, -1, PM_ERR_CALLBACK, INT32_MAX, INT32_MIN };
    size_t i;
    open_pool();
    for (i = 0; i < COUNT(codes); i++) {
        struct visit visit = { 0, 1, 0 };
        visit.stop_at = i * 2 + 1;
        visit.code = codes[i];
        FAILS(PM_ERR_CALLBACK, pm_walk_devices(store, in_order, &visit, why()));
        CHECK_INT(codes[i], told()->callback_code);
        CHECK_INT(visit.stop_at, visit.seen);
    }
    /* No walk is left open: the store can be closed. */
    close_store(store);
}

static int32_t must_not_come(const pm_device *device, void *unused) {
    (void)device;
    (void)unused;
    CHECK(!"a device in an empty store");
    return 0;
}

static void an_empty_store(void) {
    pm_names *names = NULL;
    pm_walk *walk = NULL;
    uint64_t buffer[8];
    size_t count = 77;
    store = open_new("pool.db");
    OK(pm_walk_devices(store, must_not_come, NULL, why()));
    OK(pm_get_device_names(store, &names, why()));
    CHECK_INT(0, names->count);
    pm_free(names);
    OK(pm_walk_open(store, &walk, why()));
    OK(pm_walk_next(walk, buffer, sizeof buffer, &count, NULL, why()));
    CHECK_INT(0, count);
    pm_walk_close(walk);
    close_store(store);
}

/* The callback may do everything, also to the device that it is shown. */
static int32_t write_inside(const pm_device *device, void *user_data) {
    struct visit *visit = user_data;
    char name[32];
    uint32_t id = device->device_id;
    pm_update *update = NULL;
    pm_device *record = NULL;
    in_order(device, user_data);
    snprintf(name, sizeof name, "zz-new-%u", (unsigned)visit->seen);
    add(store, name);
    OK(pm_update_begin(store, device->name, device->name_len, &update, &record, why()));
    OK(pm_device_set_error(record, PM_LIT("walked over"), why()));
    OK(pm_update_commit(update, why()));
    if (visit->seen % 2 == 0) {
        OK(pm_remove_device(store, device->name, device->name_len, why()));
    }
    /* What is shown stays as it was when the walk began. */
    CHECK(device->device_id == id && device->error_len == 0);
    FAILS(PM_ERR_BUSY, pm_close(store, why()));
    return 0;
}

static void a_callback_may_write_and_the_walk_does_not_see_it(void) {
    struct visit visit = { 0, 0, 0 };
    open_pool();
    OK(pm_close(store, why()));
    store = open_with(place("pool.db"), 20);
    OK(pm_walk_devices(store, write_inside, &visit, why()));
    CHECK_INT(COUNT(sorted), visit.seen);
    CHECK_INT(2 * COUNT(sorted) - COUNT(sorted) / 2, device_count(store));
    close_store(store);
}

static int32_t walk_inside(const pm_device *device, void *user_data) {
    struct visit inner = { 0, 0, 0 };
    in_order(device, user_data);
    OK(pm_walk_devices(store, in_order, &inner, why()));
    CHECK_INT(COUNT(sorted), inner.seen);
    return 0;
}

static void walks_inside_walks(void) {
    struct visit visit = { 0, 0, 0 };
    open_pool();
    OK(pm_walk_devices(store, walk_inside, &visit, why()));
    CHECK_INT(COUNT(sorted), visit.seen);
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
            CHECK(name[record->name_len] == '\0' && pm_record_parent_name(record)[record->parent_name_len] == '\0');
            for (; at < (const char *)end; at++) {
                CHECK_INT('\0', *at);
            }
            CHECK(record->device_id >= 1 && record->size == 4096 && record->state == PM_STATE_ACTIVATED);
            seen++;
            record = pm_record_next(record);
        }
        pages++;
    } while (count > 0);
    CHECK_INT(COUNT(sorted), seen);
    CHECK_INT(77, needed);
    /* The end stays the end. */
    count = 77;
    OK(pm_walk_next(walk, buffer, capacity, &count, NULL, why()));
    CHECK_INT(0, count);
    pm_walk_close(walk);
    free(buffer);
    return pages;
}

static void pages_of_any_size(void) {
    open_pool();
    CHECK_INT(COUNT(sorted) + 1, walk_pages(48)); /* room for one record each */
    CHECK_INT(COUNT(sorted) + 1, walk_pages(95));
    CHECK_INT((COUNT(sorted) + 1) / 2 + 1, walk_pages(96));
    CHECK_INT(2, walk_pages(64 << 10));
    close_store(store);
}

static void a_page_that_is_too_small_loses_nothing(void) {
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
    FAILS(PM_ERR_INVALID_ARGUMENT, pm_walk_next(walk, (char *)buffer + 1, 512, &count, NULL, why()));
    FAILS(PM_ERR_INVALID_ARGUMENT, pm_walk_next(walk, NULL, 8, &count, NULL, why()));
    OK(pm_walk_next(walk, buffer, sizeof buffer, &count, NULL, why()));
    CHECK_INT(0, count);
    pm_walk_close(walk);
    pm_walk_close(NULL);
    close_store(store);
}

static void an_open_walk_sees_one_moment(void) {
    pm_walk *walk = NULL;
    pm_names *names = NULL;
    uint64_t buffer[512];
    size_t count = 0;
    open_pool();
    OK(pm_walk_open(store, &walk, why()));
    OK(pm_remove_device(store, PM_LIT("a"), why()));
    add(store, "zz");
    OK(pm_walk_next(walk, buffer, sizeof buffer, &count, NULL, why()));
    CHECK_INT(COUNT(sorted), count);
    OK(pm_get_device_names(store, &names, why()));
    CHECK_INT(COUNT(sorted), names->count);
    CHECK_TEXT("zz", names->names[7].name, names->names[7].name_len);
    pm_free(names);
    pm_walk_close(walk);
    close_store(store);
}

static void names_of_all_devices(void) {
    pm_names *names = NULL;
    size_t i;
    open_pool();
    OK(pm_get_device_names(store, &names, why()));
    close_store(store);
    /* They outlive the store. */
    CHECK_INT(COUNT(sorted), names->count);
    for (i = 0; i < names->count; i++) {
        CHECK_BYTES(sorted[i], strlen(sorted[i]), names->names[i].name, names->names[i].name_len);
        CHECK_INT('\0', names->names[i].name[names->names[i].name_len]);
    }
    pm_free(names);
    pm_free(NULL);
}

static int32_t count_devices(const pm_device *device, void *count) {
    (void)device;
    ++*(unsigned *)count;
    return 0;
}

static void a_damaged_record_ends_a_walk_with_an_error(void) {
    const char *path = place("pool.db");
    pm_options options = PM_OPTIONS_INIT;
    pm_device device = device_named("m");
    pm_walk *walk = NULL;
    uint64_t buffer[64];
    size_t count = 77;
    unsigned seen = 0;
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
    FAILS(PM_ERR_CORRUPT, pm_walk_devices(store, count_devices, &seen, why()));
    CHECK_INT(1, seen);
    OK(pm_walk_open(store, &walk, why()));
    /* The sound devices in front of it are handed out first. */
    OK(pm_walk_next(walk, buffer, sizeof buffer, &count, NULL, why()));
    CHECK_INT(1, count);
    CHECK_TEXT("a", pm_record_name((const pm_record *)(const void *)buffer), 1);
    FAILS(PM_ERR_CORRUPT, pm_walk_next(walk, buffer, sizeof buffer, &count, NULL, why()));
    CHECK(strstr(told()->message, "\"m\"") != NULL && strstr(told()->message, path) != NULL);
    CHECK_INT(1, count);
    OK(pm_walk_next(walk, buffer, sizeof buffer, &count, NULL, why()));
    CHECK_INT(0, count);
    pm_walk_close(walk);
    OK(pm_close(store, why()));
}

/* More walks than there are places for readers, shared by all processes. */
static void readers_come_to_an_end(void) {
    pm_options options = PM_OPTIONS_INIT;
    pm_walk *walks[129];
    pm_walk *one_more = UNTOUCHED;
    pm_names *names = UNTOUCHED;
    size_t open = 0;
    options.max_readers = 128;
    options.lock_wait_ms = 30;
    OK(pm_open(PM_CSTR(place("pool.db")), &options, &store, why()));
    add(store, "base");
    while (open < COUNT(walks)) {
        if (pm_walk_open(store, &walks[open], NULL) != PM_OK) {
            break;
        }
        open++;
    }
    CHECK(open >= 64 && open <= 128);
    FAILS(PM_ERR_READERS_FULL, pm_walk_open(store, &one_more, why()));
    CHECK(strstr(told()->message, "128") != NULL);
    FAILS(PM_ERR_READERS_FULL, pm_get_device_names(store, &names, why()));
    CHECK(one_more == UNTOUCHED && names == UNTOUCHED);
    CHECK_INT(2, add(store, "writers go on"));
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
        int32_t status = pm_walk_next(sharing->walk, sharing->page, sharing->size, &count, NULL, NULL);
        if (status == PM_ERR_BUSY) {
            __atomic_add_fetch(&sharing->busy, 1, __ATOMIC_RELAXED);
            count = 1;
        } else {
            CHECK_INT(PM_OK, status);
        }
    }
    return NULL;
}

/* Two threads that use one walk: one is told so, and neither harms the other. Tried until they have met. */
static void one_walk_is_for_one_thread(void) {
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
    NAMED(every_device_in_byte_order),
    NAMED(a_callback_that_fails_ends_the_walk),
    NAMED(an_empty_store),
    NAMED(a_callback_may_write_and_the_walk_does_not_see_it),
    NAMED(walks_inside_walks),
    NAMED(pages_of_any_size),
    NAMED(a_page_that_is_too_small_loses_nothing),
    NAMED(an_open_walk_sees_one_moment),
    NAMED(names_of_all_devices),
    NAMED(a_damaged_record_ends_a_walk_with_an_error),
    NAMED(readers_come_to_an_end),
    NAMED(one_walk_is_for_one_thread),
};
TEST_MAIN(tests)
