/*
 * The records and lists of ids that pm_import takes. What goes together is in
 * tests/meaning/import.rs.
 */
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

static void records_of_a_walk_are_records_for_an_import(void) {
    pm_ids ids = build_pool();
    pm_ids *told_ids = NULL;
    pm_walk *walk = NULL;
    static uint64_t page[1024];
    size_t count = 0;
    size_t i;
    store = open_new("pool.db");
    OK(pm_import(store, &buffer, used, &ids, why()));
    check_store(store);
    OK(pm_walk_open(store, &walk, why()));
    OK(pm_walk_get_ids(walk, &told_ids, why()));
    CHECK_INT(sizeof(pm_ids), told_ids->struct_size);
    CHECK_INT(6, told_ids->last_id);
    CHECK_BYTES(free_ids, sizeof free_ids, told_ids->free_ids, told_ids->free_count * 4);
    CHECK_BYTES(faulty_ids, sizeof faulty_ids, told_ids->faulty_ids, told_ids->faulty_count * 4);
    OK(pm_walk_next(walk, page, sizeof page, &count, NULL, why()));
    CHECK_INT(3, count);
    pm_walk_close(walk);
    close_store(store);
    /* The records are those that were imported, but for the generation. */
    for (i = 0; i < used; i += ((pm_record *)(void *)(buffer.bytes + i))->record_size) {
        ((pm_record *)(void *)(buffer.bytes + i))->generation = 1;
    }
    CHECK_BYTES(&buffer, used, page, used);
    /* The ids outlive walk and store. */
    store = open_new("copy.db");
    OK(pm_import(store, page, used, told_ids, why()));
    pm_free(told_ids);
    CHECK_INT(3, add(store, "next"));
    FAILS(PM_ERR_NOT_EMPTY, pm_import(store, page, used, &ids, why()));
    close_store(store);
}

static void refuse(const pm_ids *ids, int32_t code) {
    FAILS(code, pm_import(store, &buffer, used, ids, why()));
    CHECK_INT(0, device_count(store));
}

static pm_record *first(void) {
    return (pm_record *)(void *)buffer.bytes;
}

static void bytes_that_are_no_record_are_refused(void) {
    pm_ids ids;
    size_t whole;
    store = open_new("pool.db");
    ids = build_pool();
    whole = used;
    /*
     * Cut in a record, or before one whose id then belongs to no device. The last record may be
     * missing: its id is faulty, and a faulty id needs no device.
     */
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

static void list_of_ids_that_is_none_is_refused(void) {
    pm_ids ids = build_pool();
    store = open_new("pool.db");
    ids.free_ids = NULL;
    refuse(&ids, PM_ERR_INVALID_ARGUMENT);
    ids = build_pool();
    ids.faulty_count = SIZE_MAX;
    refuse(&ids, PM_ERR_INVALID_ARGUMENT);
    ids = build_pool();
    ids.free_count = 1; /* 5 belongs to no device */
    FAILS(PM_ERR_INVALID_ARGUMENT, pm_import(store, &buffer, used, &ids, why()));
    CHECK(strstr(told()->message, "id 5") != NULL);
    close_store(store);
}

static void id_struct_of_another_size_is_refused_if_more_is_set(void) {
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
    NAMED(records_of_a_walk_are_records_for_an_import),
    NAMED(bytes_that_are_no_record_are_refused),
    NAMED(list_of_ids_that_is_none_is_refused),
    NAMED(id_struct_of_another_size_is_refused_if_more_is_set),
};
TEST_MAIN(tests)
