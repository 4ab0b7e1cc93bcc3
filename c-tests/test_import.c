/* A whole pool at once: taken over by pm_import, told by pm_walk_next and pm_walk_get_ids. */
#include "test.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static pm_store *store;

/* A buffer of records, built as a caller would. */
static union {
    uint64_t words[1024];
    unsigned char bytes[8192];
} buffer;
static size_t used;

static pm_record *put(const char *name, uint32_t id, int32_t state, const char *error) {
    pm_record *record = (pm_record *)(void *)(buffer.bytes + used);
    size_t name_len = strlen(name);
    size_t error_len = strlen(error);
    size_t size = (sizeof *record + name_len + error_len + 3 + 7) / 8 * 8;
    char *texts = (char *)(record + 1);
    CHECK(used + size <= sizeof buffer);
    memset(record, 0, size);
    record->record_size = (uint32_t)size;
    record->device_id = id;
    record->size = id * 1000;
    record->generation = 999; /* ignored */
    record->state = state;
    record->name_len = (uint32_t)name_len;
    record->error_len = (uint32_t)error_len;
    memcpy(texts, name, name_len);
    memcpy(texts + name_len + 2, error, error_len);
    used += size;
    return record;
}

/* Ids 1 to 6: a, b and c have 2, 1 and 6; 3 is free; 4 and 6 are faulty, 5 is free. */
static const uint32_t free_ids[] = { 3, 5 };
static const uint32_t faulty_ids[] = { 4, 6 };

static pm_ids build_pool(void) {
    pm_ids ids = PM_IDS_INIT;
    used = 0;
    put("a", 2, PM_STATE_ACTIVATED, "");
    put("b", 1, PM_STATE_SUSPENDED, "what happened");
    put("c", 6, PM_STATE_FAULTY, "");
    ids.last_id = 6;
    ids.free_ids = free_ids;
    ids.free_count = COUNT(free_ids);
    ids.faulty_ids = faulty_ids;
    ids.faulty_count = COUNT(faulty_ids);
    return ids;
}

static void a_pool_is_taken_over_and_given_back(void) {
    pm_ids ids = build_pool();
    pm_ids *told_ids = NULL;
    pm_walk *walk = NULL;
    pm_stats stats = PM_STATS_INIT;
    static uint64_t page[1024];
    size_t count = 0;
    size_t i;
    store = open_new("pool.db");
    OK(pm_import(store, &buffer, used, &ids, why()));
    check_store(store);
    OK(pm_get_stats(store, &stats, why()));
    CHECK(stats.devices == 3 && stats.taken_ids == 2 && stats.free_ids == 2 && stats.faulty_ids == 2);
    CHECK(stats.last_id == 6 && stats.commits == 1);
    OK(pm_walk_open(store, &walk, why()));
    OK(pm_walk_get_ids(walk, &told_ids, why()));
    CHECK_INT(sizeof(pm_ids), told_ids->struct_size);
    CHECK_INT(6, told_ids->last_id);
    CHECK_BYTES(free_ids, sizeof free_ids, told_ids->free_ids, told_ids->free_count * sizeof(uint32_t));
    CHECK_BYTES(faulty_ids, sizeof faulty_ids, told_ids->faulty_ids, told_ids->faulty_count * sizeof(uint32_t));
    /* The walk is where it was; the records are those that went in, but for the generation. */
    OK(pm_walk_next(walk, page, sizeof page, &count, NULL, why()));
    CHECK_INT(3, count);
    pm_walk_close(walk);
    for (i = 0; i < used; i += ((pm_record *)(void *)(buffer.bytes + i))->record_size) {
        pm_record *record = (pm_record *)(void *)(buffer.bytes + i);
        CHECK_INT(1, ((pm_record *)(void *)((char *)page + i))->generation);
        record->generation = 1;
    }
    CHECK_BYTES(&buffer, used, page, used);
    /* What a walk tells is what an import takes. */
    {
        pm_store *copy = open_new("copy.db");
        OK(pm_import(copy, page, used, told_ids, why()));
        CHECK_INT(3, add(copy, "next"));
        close_store(copy);
    }
    pm_free(told_ids);
    CHECK_INT(3, add(store, "next"));
    close_store(store);
}

static void the_ids_are_those_of_the_walk_s_moment(void) {
    pm_walk *walk = NULL;
    pm_ids *ids = NULL;
    store = open_new("pool.db");
    OK(pm_walk_open(store, &walk, why()));
    add(store, "base");
    OK(pm_remove_device(store, PM_LIT("base"), why()));
    OK(pm_walk_get_ids(walk, &ids, why()));
    CHECK(ids->last_id == 0 && ids->free_count == 0 && ids->faulty_count == 0);
    pm_free(ids);
    pm_walk_close(walk);
    OK(pm_walk_open(store, &walk, why()));
    OK(pm_walk_get_ids(walk, &ids, why()));
    CHECK(ids->last_id == 1 && ids->free_count == 1 && ids->free_ids[0] == 1 && ids->faulty_count == 0);
    pm_walk_close(walk);
    close_store(store);
    /* It outlives walk and store. */
    CHECK_INT(1, ids->free_ids[0]);
    pm_free(ids);
}

static void only_an_empty_store_is_filled(void) {
    pm_ids ids = build_pool();
    store = open_new("pool.db");
    add(store, "base");
    FAILS(PM_ERR_NOT_EMPTY, pm_import(store, &buffer, used, &ids, why()));
    CHECK(strstr(told()->message, place("pool.db")) != NULL);
    OK(pm_remove_device(store, PM_LIT("base"), why()));
    FAILS(PM_ERR_NOT_EMPTY, pm_import(store, &buffer, used, &ids, why())); /* an id was given out */
    CHECK_INT(0, device_count(store));
    close_store(store);
}

static void nothing_at_all_can_be_imported(void) {
    pm_ids ids = PM_IDS_INIT;
    store = open_new("pool.db");
    OK(pm_import(store, NULL, 0, &ids, why()));
    ids = build_pool();
    OK(pm_import(store, &buffer, used, &ids, why())); /* it is still empty */
    close_store(store);
}

static void refuse(const pm_ids *ids, int32_t code) {
    FAILS(code, pm_import(store, &buffer, used, ids, why()));
    CHECK_INT(0, device_count(store));
}

static pm_record *first(void) {
    return (pm_record *)(void *)buffer.bytes;
}

static void records_that_are_none(void) {
    pm_ids ids;
    size_t whole;
    store = open_new("pool.db");
    ids = build_pool();
    whole = used;
    /* Cut in a record, or before one whose id is then nobody's; the last one's id may be faulty and nobody's. */
    for (used = 1; used < whole; used++) {
        if (used != whole - sizeof(pm_record) - 8) {
            refuse(&ids, PM_ERR_INVALID_ARGUMENT);
        }
    }
    used = whole;
    first()->record_size = 0;
    refuse(&ids, PM_ERR_INVALID_ARGUMENT);
    ids = build_pool();
    first()->record_size += 1;
    refuse(&ids, PM_ERR_INVALID_ARGUMENT);
    ids = build_pool();
    first()->record_size -= 8;
    refuse(&ids, PM_ERR_INVALID_ARGUMENT);
    ids = build_pool();
    first()->record_size = UINT32_MAX / 8 * 8;
    refuse(&ids, PM_ERR_INVALID_ARGUMENT);
    ids = build_pool();
    first()->error_len = UINT32_MAX;
    refuse(&ids, PM_ERR_INVALID_ARGUMENT);
    ids = build_pool();
    first()->name_len = UINT32_MAX;
    first()->parent_name_len = UINT32_MAX;
    first()->error_len = UINT32_MAX;
    refuse(&ids, PM_ERR_INVALID_ARGUMENT);
    ids = build_pool();
    first()->state = 14;
    refuse(&ids, PM_ERR_INVALID_STATE);
    ids = build_pool();
    first()->name_len = 0;
    refuse(&ids, PM_ERR_INVALID_NAME);
    ids = build_pool();
    used = SIZE_MAX;
    refuse(&ids, PM_ERR_INVALID_ARGUMENT);
    close_store(store);
}

static void texts_that_are_too_long(void) {
    size_t len = PM_MAX_ERROR_LEN + 1;
    size_t size = (sizeof(pm_record) + 1 + len + 3 + 7) / 8 * 8;
    pm_record *record = calloc(1, size);
    pm_ids ids = PM_IDS_INIT;
    CHECK(record != NULL);
    store = open_new("pool.db");
    record->record_size = (uint32_t)size;
    record->device_id = 1;
    record->name_len = 1;
    record->error_len = (uint32_t)len;
    memcpy(record + 1, "d", 1);
    ids.last_id = 1;
    FAILS(PM_ERR_TOO_LONG, pm_import(store, record, size, &ids, why()));
    CHECK_INT(0, device_count(store));
    record->error_len--;
    OK(pm_import(store, record, size, &ids, why()));
    free(record);
    close_store(store);
}

static void pools_that_do_not_add_up(void) {
    static const uint32_t unsorted[] = { 5, 3 };
    static const uint32_t twice[] = { 3, 3, 5 };
    static const uint32_t outside[] = { 3, 5, 7 };
    static const uint32_t zero[] = { 0, 3, 5 };
    static const uint32_t of_a_device[] = { 1, 3, 5 };
    pm_ids ids;
    store = open_new("pool.db");
    ids = build_pool();
    ids.free_count = 1; /* 5 belongs to nobody */
    FAILS(PM_ERR_INVALID_ARGUMENT, pm_import(store, &buffer, used, &ids, why()));
    CHECK(strstr(told()->message, "id 5") != NULL);
    ids = build_pool();
    ids.last_id = 7;
    refuse(&ids, PM_ERR_INVALID_ARGUMENT);
    ids.last_id = 5;
    refuse(&ids, PM_ERR_INVALID_ARGUMENT);
    ids.last_id = PM_MAX_DEVICE_ID + 1;
    refuse(&ids, PM_ERR_INVALID_ARGUMENT);
    ids.last_id = UINT32_MAX;
    refuse(&ids, PM_ERR_INVALID_ARGUMENT);
    ids = build_pool();
    ids.free_ids = unsorted;
    refuse(&ids, PM_ERR_INVALID_ARGUMENT);
    ids.free_ids = twice;
    ids.free_count = 3;
    refuse(&ids, PM_ERR_INVALID_ARGUMENT);
    ids.free_ids = outside;
    refuse(&ids, PM_ERR_INVALID_ARGUMENT);
    ids.free_ids = zero;
    refuse(&ids, PM_ERR_INVALID_ARGUMENT);
    ids.free_ids = of_a_device;
    refuse(&ids, PM_ERR_INVALID_ARGUMENT);
    ids = build_pool();
    ids.faulty_ids = free_ids;
    refuse(&ids, PM_ERR_INVALID_ARGUMENT);
    ids = build_pool();
    ids.free_ids = NULL;
    refuse(&ids, PM_ERR_INVALID_ARGUMENT);
    ids = build_pool();
    ids.faulty_count = SIZE_MAX;
    refuse(&ids, PM_ERR_INVALID_ARGUMENT);
    ids = build_pool();
    first()->device_id = 1; /* as b has */
    refuse(&ids, PM_ERR_INVALID_ARGUMENT);
    ids = build_pool();
    first()->device_id = 0;
    refuse(&ids, PM_ERR_INVALID_ARGUMENT);
    ids = build_pool();
    *(char *)(first() + 1) = 'b'; /* the same name twice */
    refuse(&ids, PM_ERR_INVALID_ARGUMENT);
    *(char *)(first() + 1) = 'z'; /* out of order */
    refuse(&ids, PM_ERR_INVALID_ARGUMENT);
    close_store(store);
}

static void id_structs_of_other_sizes(void) {
    static const size_t bad[] = { 0, 8, sizeof(pm_ids) - 1, 65537, SIZE_MAX };
    union {
        pm_ids ids;
        unsigned char bytes[sizeof(pm_ids) + 16];
    } room;
    size_t i;
    store = open_new("pool.db");
    for (i = 0; i < COUNT(bad); i++) {
        pm_ids ids = build_pool();
        ids.struct_size = bad[i];
        refuse(&ids, PM_ERR_STRUCT_SIZE);
    }
    memset(&room, 0, sizeof room);
    room.ids = build_pool();
    room.ids.struct_size = sizeof room;
    room.bytes[sizeof room - 1] = 1;
    refuse(&room.ids, PM_ERR_STRUCT_SIZE);
    room.bytes[sizeof room - 1] = 0;
    OK(pm_import(store, &buffer, used, &room.ids, why()));
    close_store(store);
}

static const struct test tests[] = {
    NAMED(a_pool_is_taken_over_and_given_back),
    NAMED(the_ids_are_those_of_the_walk_s_moment),
    NAMED(only_an_empty_store_is_filled),
    NAMED(nothing_at_all_can_be_imported),
    NAMED(records_that_are_none),
    NAMED(texts_that_are_too_long),
    NAMED(pools_that_do_not_add_up),
    NAMED(id_structs_of_other_sizes),
};
TEST_MAIN(tests)
