/* NULL for every pointer parameter of every function: an error unless the header allows it. */
#include "test.h"

#include <stdint.h>
#include <string.h>

static pm_store *store;
static pm_device *const no_device = NULL;

/* Refused, with the parameter's name in the message, and without a pm_error too. */
#define REFUSES(parameter, call_with, ...)                        \
    do {                                                          \
        FAILS(PM_ERR_INVALID_ARGUMENT, call_with(__VA_ARGS__, why())); \
        CHECK(strstr(told()->message, parameter) != NULL);        \
        FAILS(PM_ERR_INVALID_ARGUMENT, call_with(__VA_ARGS__, NULL)); \
    } while (0)

static int32_t update_nothing(pm_device *device, void *unused) {
    CHECK(device != NULL && unused == NULL);
    return 0;
}

static int32_t walk_nothing(const pm_device *device, void *unused) {
    CHECK(device != NULL && unused == NULL);
    return 0;
}

static void open_pool(void) {
    store = open_new("pool.db");
    add(store, "base");
}

static void null_store_is_refused(void) {
    pm_device device = device_named("d");
    pm_stats stats = PM_STATS_INIT;
    pm_ids ids = PM_IDS_INIT;
    pm_change change = { .kind = PM_CHANGE_ADD };
    pm_device *got = UNTOUCHED;
    pm_update *update = UNTOUCHED;
    pm_walk *walk = UNTOUCHED;
    pm_names *names = UNTOUCHED;
    pm_store *deferred = UNTOUCHED;
    pm_running_reads *reads = UNTOUCHED;
    pm_report *report = UNTOUCHED;
    pm_id_list *id_list = UNTOUCHED;
    pm_intent intent = PM_INTENT_INIT;
    pm_intent_list *intents = UNTOUCHED;
    pm_name *identity = UNTOUCHED;
    pm_pool_state pool = PM_POOL_STATE_INIT;
    pm_reconciliation *found = UNTOUCHED;
    uint32_t new_id = 77;
    uint64_t buffer[8];
    REFUSES("store", pm_get_device_by_id, NULL, 1, &got);
    REFUSES("store", pm_list_ids, NULL, 0, 0, 0, &id_list);
    REFUSES("store", pm_free_id, NULL, 1);
    REFUSES("store", pm_free_faulty_ids, NULL, NULL, 0, NULL);
    REFUSES("store", pm_mark_ids_faulty, NULL, NULL, 0, NULL);
    REFUSES("store", pm_mark_ids_faulty_up_to, NULL, 1, NULL);
    REFUSES("store", pm_replace_device_id, NULL, PM_LIT("base"), 1, &new_id);
    REFUSES("store", pm_walk_open_filtered, NULL, NULL, &walk);
    REFUSES("store", pm_begin_intent, NULL, &intent);
    REFUSES("store", pm_finish_intent, NULL, 1);
    REFUSES("store", pm_list_intents, NULL, &intents);
    REFUSES("store", pm_reconcile, NULL, &pool, &found);
    REFUSES("store", pm_apply_reconciliation, NULL, NULL, 0, NULL);
    REFUSES("store", pm_get_identity, NULL, &identity);
    REFUSES("store", pm_set_identity, NULL, NULL, 0);
    CHECK(id_list == UNTOUCHED && intents == UNTOUCHED && identity == UNTOUCHED && new_id == 77);
    CHECK(found == UNTOUCHED);
    REFUSES("store", pm_close, NULL);
    REFUSES("store", pm_sync, NULL);
    REFUSES("store", pm_deferred, NULL, &deferred);
    CHECK(deferred == UNTOUCHED);
    REFUSES("store", pm_verify, NULL);
    REFUSES("store", pm_get_stats, NULL, &stats);
    REFUSES("store", pm_add_device, NULL, &device);
    REFUSES("store", pm_get_device, NULL, PM_LIT("base"), &got);
    REFUSES("store", pm_read_device, NULL, PM_LIT("base"), buffer, sizeof buffer, NULL);
    REFUSES("store", pm_change_device_state, NULL, PM_LIT("base"), 1);
    REFUSES("store", pm_mark_faulty, NULL, PM_LIT("base"));
    REFUSES("store", pm_remove_device, NULL, PM_LIT("base"));
    REFUSES("store", pm_update_device, NULL, PM_LIT("base"), update_nothing, NULL);
    REFUSES("store", pm_update_begin, NULL, PM_LIT("base"), &update, &got);
    REFUSES("store", pm_walk_devices, NULL, walk_nothing, NULL);
    REFUSES("store", pm_walk_open, NULL, &walk);
    REFUSES("store", pm_get_device_names, NULL, &names);
    REFUSES("store", pm_get_running_reads, NULL, &reads);
    REFUSES("store", pm_import, NULL, NULL, 0, &ids);
    REFUSES("store", pm_apply, NULL, &change, 1, NULL);
    REFUSES("store", pm_apply_each, NULL, &change, 1, NULL);
    REFUSES("store", pm_backup, NULL, PM_LIT("copy.db"), 0);
    REFUSES("store", pm_check, NULL, 0, &report);
    CHECK(got == UNTOUCHED && update == UNTOUCHED && walk == UNTOUCHED && names == UNTOUCHED);
    CHECK(report == UNTOUCHED);
    CHECK(device.device_id == 0 && stats.map_size == 0);
}

static void null_name_with_a_length_is_refused(void) {
    pm_device *got = UNTOUCHED;
    pm_update *update = UNTOUCHED;
    uint64_t buffer[8];
    size_t len;
    open_pool();
    for (len = 1; len != 0; len = len == 1 ? 511 : len == 511 ? SIZE_MAX : 0) {
        REFUSES("name", pm_get_device, store, NULL, len, &got);
        REFUSES("name", pm_read_device, store, NULL, len, buffer, sizeof buffer, NULL);
        REFUSES("name", pm_change_device_state, store, NULL, len, 1);
        REFUSES("name", pm_mark_faulty, store, NULL, len);
        REFUSES("name", pm_remove_device, store, NULL, len);
        REFUSES("name", pm_update_device, store, NULL, len, update_nothing, NULL);
        REFUSES("name", pm_update_begin, store, NULL, len, &update, &got);
    }
    CHECK(got == UNTOUCHED && update == UNTOUCHED);
    close_store(store);
}

static void length_beyond_any_memory_is_refused(void) {
    pm_device *got = UNTOUCHED;
    pm_store *opened = UNTOUCHED;
    open_pool();
    REFUSES("path", pm_open, "x", SIZE_MAX, NULL, &opened);
    REFUSES("name", pm_get_device, store, "x", SIZE_MAX, &got);
    REFUSES("name", pm_mark_faulty, store, "x", SIZE_MAX / 2 + 1);
    CHECK(got == UNTOUCHED && opened == UNTOUCHED);
    close_store(store);
}

/* Lengths that no name has: a text that is refused must not be copied as a whole. */
static const size_t absurd[] = { 513, (size_t)1 << 40, SIZE_MAX / 2 };

static void absurd_length_is_refused_without_a_copy(void) {
    static char text[8192];
    static pm_change list[1];
    pm_device *got = UNTOUCHED;
    pm_device *record = NULL;
    pm_update *update = UNTOUCHED;
    pm_store *opened = UNTOUCHED;
    pm_device device, named = device_named("listed");
    uint64_t buffer[8];
    size_t at, len;
    memset(text, 'n', sizeof text);
    list[0].kind = PM_CHANGE_ADD;
    list[0].device = &named;
    open_pool();
    for (at = 0; at < COUNT(absurd); at++) {
        len = absurd[at];
        FAILS(PM_ERR_NOT_FOUND, pm_get_device(store, text, len, &got, why()));
        CHECK(strstr(told()->message, "nnnn") != NULL);
        FAILS(PM_ERR_NOT_FOUND,
              pm_read_device(store, text, len, buffer, sizeof buffer, NULL, why()));
        FAILS(PM_ERR_NOT_FOUND, pm_change_device_state(store, text, len, 1, why()));
        FAILS(PM_ERR_NOT_FOUND, pm_mark_faulty(store, text, len, why()));
        FAILS(PM_ERR_NOT_FOUND, pm_remove_device(store, text, len, why()));
        FAILS(PM_ERR_NOT_FOUND, pm_update_device(store, text, len, update_nothing, NULL, why()));
        FAILS(PM_ERR_NOT_FOUND, pm_update_begin(store, text, len, &update, &got, why()));
        device = device_named("d");
        device.name = text;
        device.name_len = len;
        FAILS(PM_ERR_INVALID_NAME, pm_add_device(store, &device, why()));
        FAILS(PM_ERR_INVALID_NAME, apply_one(store, PM_CHANGE_ADD, &device, why()));
        FAILS(PM_ERR_NOT_FOUND, apply_one(store, PM_CHANGE_REMOVE, &device, why()));
        device = device_named("d");
        device.parent_name = text;
        device.parent_name_len = len;
        FAILS(PM_ERR_INVALID_NAME, pm_add_device(store, &device, why()));
        device = device_named("d");
        device.error = text;
        device.error_len = len < 1024 ? PM_MAX_ERROR_LEN + 1 : len;
        FAILS(PM_ERR_TOO_LONG, pm_add_device(store, &device, why()));
        OK(pm_update_begin(store, PM_LIT("base"), &update, &record, why()));
        FAILS(PM_ERR_TOO_LONG, pm_device_set_error(record, text, device.error_len, why()));
        record->name = text;
        record->name_len = len;
        FAILS(PM_ERR_IDENTITY_CHANGED, pm_update_commit(update, why()));
        OK(pm_update_begin(store, PM_LIT("base"), &update, &record, why()));
        record->parent_name = text;
        record->parent_name_len = len;
        FAILS(PM_ERR_INVALID_NAME, pm_update_commit(update, why()));
        OK(pm_update_begin(store, PM_LIT("base"), &update, &record, why()));
        record->error = text;
        record->error_len = device.error_len;
        FAILS(PM_ERR_TOO_LONG, pm_update_commit(update, why()));
        update = UNTOUCHED;
        if (len > 1024) {
            FAILS(PM_ERR_INVALID_PATH, pm_open(text, len, NULL, &opened, why()));
        }
    }
    FAILS(PM_ERR_INVALID_ARGUMENT,
          pm_apply(store, list, (size_t)PM_MAX_DEVICE_ID + 1, NULL, why()));
    FAILS(PM_ERR_INVALID_ARGUMENT, pm_apply(store, list, (size_t)1 << 40, NULL, why()));
    FAILS(PM_ERR_INVALID_ARGUMENT, pm_apply_each(store, list, SIZE_MAX, NULL, why()));
    CHECK(got == UNTOUCHED && opened == UNTOUCHED && named.device_id == 0);
    CHECK_INT(1, device_count(store));
    check_store(store);
    close_store(store);
}

/* Of the calls about ids, intents and the pool. */
static void null_output_beside_devices_is_refused(void) {
    static const uint32_t beyond[] = { 1, (uint32_t)1 << 24 };
    static const char long_identity[256] = "x";
    pm_filter filter = PM_FILTER_INIT;
    pm_intent intent = PM_INTENT_INIT;
    pm_pool_state pool = PM_POOL_STATE_INIT;
    pm_walk *walk = UNTOUCHED;
    REFUSES("device", pm_get_device_by_id, store, 1, NULL);
    REFUSES("ids", pm_list_ids, store, 0, 0, 0, NULL);
    REFUSES("states", pm_list_ids, store, 8, 0, 0, (pm_id_list **)&walk);
    REFUSES("except", pm_free_faulty_ids, store, NULL, 1, NULL);
    REFUSES("ids", pm_mark_ids_faulty, store, NULL, 1, NULL);
    REFUSES("ids", pm_mark_ids_faulty, store, beyond, SIZE_MAX, NULL);
    REFUSES("16777216", pm_mark_ids_faulty, store, beyond, 2, NULL);
    REFUSES("16777216", pm_free_id, store, beyond[1]);
    REFUSES("16777215", pm_mark_ids_faulty_up_to, store, PM_MAX_DEVICE_ID + 1, NULL);
    REFUSES("new_id", pm_replace_device_id, store, PM_LIT("base"), 1, NULL);
    REFUSES("name", pm_replace_device_id, store, NULL, 1, 1, NULL);
    REFUSES("walk", pm_walk_open_filtered, store, &filter, NULL);
    filter.parent_name_len = 1;
    REFUSES("filter.parent_name", pm_walk_open_filtered, store, &filter, &walk);
    filter = (pm_filter)PM_FILTER_INIT;
    filter.states = (uint32_t)1 << 14;
    FAILS(PM_ERR_INVALID_STATE, pm_walk_open_filtered(store, &filter, &walk, why()));
    filter.struct_size = 8;
    FAILS(PM_ERR_STRUCT_SIZE, pm_walk_open_filtered(store, &filter, &walk, why()));
    REFUSES("intent", pm_begin_intent, store, NULL);
    REFUSES("intent.kind", pm_begin_intent, store, &intent);
    intent.kind = PM_INTENT_DELETE;
    FAILS(PM_ERR_INVALID_NAME, pm_begin_intent(store, &intent, why()));
    intent.name_len = 1;
    REFUSES("intent.name", pm_begin_intent, store, &intent);
    intent.struct_size = 8;
    FAILS(PM_ERR_STRUCT_SIZE, pm_begin_intent(store, &intent, why()));
    REFUSES("intents", pm_list_intents, store, NULL);
    REFUSES("pool", pm_reconcile, store, NULL, (pm_reconciliation **)&walk);
    REFUSES("found", pm_reconcile, store, &pool, NULL);
    REFUSES("differences", pm_apply_reconciliation, store, NULL, 1, NULL);
    REFUSES("identity", pm_get_identity, store, NULL);
    REFUSES("identity", pm_set_identity, store, NULL, 1);
    REFUSES("identity", pm_set_identity, store, long_identity, sizeof long_identity);
    CHECK(walk == UNTOUCHED && intent.number == 0);
}

static void null_output_is_refused(void) {
    pm_device *got = UNTOUCHED;
    pm_update *update = UNTOUCHED;
    pm_walk *walk = NULL;
    pm_change change = { .kind = PM_CHANGE_ADD };
    uint64_t buffer[64];
    size_t count = 77;
    open_pool();
    REFUSES("path", pm_open, NULL, 1, NULL, &store);
    REFUSES("store", pm_open, PM_CSTR(place("new.db")), NULL, NULL);
    REFUSES("stats", pm_get_stats, store, NULL);
    REFUSES("device", pm_add_device, store, NULL);
    REFUSES("device", pm_get_device, store, PM_LIT("base"), NULL);
    REFUSES("buffer", pm_read_device, store, PM_LIT("base"), NULL, 1, NULL);
    REFUSES("update", pm_update_begin, store, PM_LIT("base"), NULL, &got);
    REFUSES("device", pm_update_begin, store, PM_LIT("base"), &update, NULL);
    REFUSES("walk", pm_walk_open, store, NULL);
    REFUSES("names", pm_get_device_names, store, NULL);
    REFUSES("reads", pm_get_running_reads, store, NULL);
    REFUSES("ids", pm_import, store, NULL, 0, NULL);
    REFUSES("report", pm_check, store, 0, NULL);
    REFUSES("report", pm_check_file, PM_LIT("none"), NULL, 0, NULL);
    REFUSES("report", pm_repair, PM_LIT("none"), NULL, NULL);
    REFUSES("path", pm_check_file, NULL, 1, NULL, 0, NULL);
    REFUSES("path", pm_repair, NULL, 1, NULL, NULL);
    REFUSES("damaged", pm_salvage, NULL, 1, PM_LIT("new"), NULL, 0, NULL, NULL);
    REFUSES("target", pm_salvage, PM_LIT("none"), NULL, 1, NULL, 0, NULL, NULL);
    REFUSES("path", pm_backup, store, NULL, 1, 0);
    REFUSES("path", pm_restore, PM_LIT("none"), NULL, 1, NULL, NULL, NULL);
    REFUSES("path", pm_compact, NULL, 1, NULL, NULL, NULL);
    REFUSES("backup", pm_restore, NULL, 1, PM_LIT("none"), NULL, NULL, NULL);
    REFUSES("changes", pm_apply, store, NULL, 1, NULL);
    REFUSES("device", pm_apply, store, &change, 1, NULL);
    REFUSES("changes", pm_apply_each, store, NULL, 1, NULL);
    REFUSES("device", pm_apply_each, store, &change, 1, NULL);
    OK(pm_walk_open(store, &walk, why()));
    REFUSES("walk", pm_walk_next, NULL, buffer, sizeof buffer, &count, NULL);
    REFUSES("buffer", pm_walk_next, walk, NULL, sizeof buffer, &count, NULL);
    REFUSES("count", pm_walk_next, walk, buffer, sizeof buffer, NULL, NULL);
    REFUSES("walk", pm_walk_get_ids, NULL, (pm_ids **)&got);
    REFUSES("ids", pm_walk_get_ids, walk, NULL);
    REFUSES("walk", pm_walk_get_removals, NULL, 0, (pm_removals **)&got);
    REFUSES("removals", pm_walk_get_removals, walk, 0, NULL);
    null_output_beside_devices_is_refused();
    CHECK(got == UNTOUCHED && update == UNTOUCHED && count == 77);
    /* The walk has lost nothing by it. */
    OK(pm_walk_next(walk, buffer, sizeof buffer, &count, NULL, why()));
    CHECK_INT(1, count);
    pm_walk_close(walk);
    close_store(store);
}

static void null_callback_is_refused(void) {
    open_pool();
    REFUSES("callback", pm_update_device, store, PM_LIT("base"), NULL, NULL);
    REFUSES("callback", pm_walk_devices, store, NULL, NULL);
    OK(pm_update_device(store, PM_LIT("base"), update_nothing, NULL, why()));
    OK(pm_walk_devices(store, walk_nothing, NULL, why()));
    close_store(store);
}

static void null_update_is_refused(void) {
    pm_update *update = NULL;
    pm_device *device = NULL;
    open_pool();
    REFUSES("update", pm_update_commit, NULL);
    pm_update_abort(NULL);
    REFUSES("device", pm_device_set_error, no_device, PM_LIT("x"));
    REFUSES("device", pm_device_set_parent_name, no_device, PM_LIT("x"));
    OK(pm_update_begin(store, PM_LIT("base"), &update, &device, why()));
    REFUSES("text", pm_device_set_error, device, NULL, 1);
    REFUSES("text", pm_device_set_parent_name, device, NULL, 1);
    OK(pm_device_set_error(device, NULL, 0, why()));
    OK(pm_device_set_parent_name(device, NULL, 0, why()));
    OK(pm_update_commit(update, why()));
    close_store(store);
}

static void null_is_taken_where_it_is_allowed(void) {
    pm_store *opened = NULL;
    pm_store *deferred = NULL;
    pm_walk *walk = NULL;
    uint64_t buffer[64];
    size_t count = 0;
    pm_free(NULL);
    pm_walk_close(NULL);
    pm_update_abort(NULL);
    OK(pm_open(PM_CSTR(place("pool.db")), NULL, &opened, NULL));
    add(opened, "base");
    OK(pm_read_device(opened, PM_LIT("base"), buffer, sizeof buffer, NULL, NULL));
    OK(pm_walk_open(opened, &walk, NULL));
    OK(pm_walk_next(walk, buffer, sizeof buffer, &count, NULL, NULL));
    pm_walk_close(walk);
    OK(pm_deferred(opened, &deferred, NULL));
    OK(pm_close(deferred, NULL));
    OK(pm_sync(opened, NULL));
    OK(pm_verify(opened, NULL));
    OK(pm_close(opened, NULL));
}

static const struct test tests[] = {
    NAMED(null_store_is_refused),
    NAMED(null_name_with_a_length_is_refused),
    NAMED(length_beyond_any_memory_is_refused),
    NAMED(absurd_length_is_refused_without_a_copy),
    NAMED(null_output_is_refused),
    NAMED(null_callback_is_refused),
    NAMED(null_update_is_refused),
    NAMED(null_is_taken_where_it_is_allowed),
};
TEST_MAIN(tests)
