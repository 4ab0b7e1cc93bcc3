/* Lists of changes: all in one commit, or none. */
#include "test.h"

#include <stdint.h>
#include <string.h>

static pm_store *store;

static void open_pool(void) {
    store = open_new("pool.db");
    add(store, "there");
}

static pm_change change(int32_t kind, pm_device *device) {
    pm_change made;
    made.kind = kind;
    made.device = device;
    return made;
}

static uint64_t commits(void) {
    pm_stats stats = PM_STATS_INIT;
    OK(pm_get_stats(store, &stats, why()));
    return stats.commits;
}

static void all_kinds_in_one_commit(void) {
    pm_device *got;
    pm_device added = device_named("added"), gone = device_named("there"), odd = device_named("added");
    pm_device again = device_named("added"), state = device_named("added"), update = device_named("kept");
    pm_change list[6];
    open_pool();
    add(store, "kept");
    OK(pm_get_device(store, PM_LIT("kept"), &got, why()));
    update = *got;
    update.size = 12345;
    state.state = PM_STATE_SUSPENDED;
    list[0] = change(PM_CHANGE_ADD, &added);
    list[1] = change(PM_CHANGE_REMOVE, &gone);
    list[2] = change(PM_CHANGE_MARK_FAULTY, &odd);
    list[3] = change(PM_CHANGE_ADD, &again);
    list[4] = change(PM_CHANGE_STATE, &state);
    list[5] = change(PM_CHANGE_UPDATE, &update);
    OK(pm_apply(store, list, COUNT(list), NULL, why()));
    pm_free(got);
    CHECK_INT(3, commits());
    CHECK(added.device_id == 3 && gone.device_id == 1 && odd.device_id == 3);
    CHECK(again.device_id == 1 && state.device_id == 1 && update.device_id == 2);
    CHECK(added.generation == 3 && update.generation == 3);
    CHECK_INT(PM_STATE_SUSPENDED, state_of(store, "added"));
    CHECK_INT(2, device_count(store));
    OK(pm_get_device(store, PM_LIT("kept"), &got, why()));
    CHECK(got->size == 12345 && got->generation == 3);
    pm_free(got);
    check_store(store);
    close_store(store);
}

/* The list with `bad` in its middle is refused there, and neither the store nor the devices have changed. */
static void refused(int32_t code, pm_change bad) {
    pm_device first = device_named("first"), last = device_named("last");
    pm_change list[3];
    size_t position = 99;
    uint64_t before = commits();
    list[0] = change(PM_CHANGE_ADD, &first);
    list[1] = bad;
    list[2] = change(PM_CHANGE_ADD, &last);
    FAILS(code, pm_apply(store, list, COUNT(list), &position, why()));
    CHECK_INT(1, position);
    CHECK(first.device_id == 0 && last.device_id == 0);
    CHECK_INT(before, commits());
    CHECK_INT(1, device_count(store));
    check_store(store);
}

static void one_refusal_undoes_all(void) {
    pm_device *got, stale, other;
    pm_device there = device_named("there"), none = device_named("none"), empty = device_named("");
    pm_device bad_state = device_named("there"), bad_size = device_named("there");
    open_pool();
    OK(pm_get_device(store, PM_LIT("there"), &got, why()));
    stale = *got;
    stale.generation++;
    other = *got;
    other.device_id++;
    bad_state.state = PM_STATE_FAULTY + 1;
    bad_size.struct_size = 8;
    refused(PM_ERR_ALREADY_EXISTS, change(PM_CHANGE_ADD, &there));
    refused(PM_ERR_NOT_FOUND, change(PM_CHANGE_REMOVE, &none));
    refused(PM_ERR_NOT_FOUND, change(PM_CHANGE_MARK_FAULTY, &empty));
    refused(PM_ERR_INVALID_NAME, change(PM_CHANGE_ADD, &empty));
    refused(PM_ERR_CONFLICT, change(PM_CHANGE_UPDATE, &stale));
    refused(PM_ERR_IDENTITY_CHANGED, change(PM_CHANGE_UPDATE, &other));
    refused(PM_ERR_INVALID_STATE, change(PM_CHANGE_STATE, &bad_state));
    refused(PM_ERR_STRUCT_SIZE, change(PM_CHANGE_REMOVE, &bad_size));
    refused(PM_ERR_INVALID_ARGUMENT, change(PM_CHANGE_REMOVE, NULL));
    refused(PM_ERR_INVALID_ARGUMENT, change(PM_CHANGE_REMOVE + 1, &there));
    refused(PM_ERR_INVALID_ARGUMENT, change(-1, &there));
    pm_free(got);
    close_store(store);
}

static void what_is_no_ones_fault_tells_no_position(void) {
    pm_device there = device_named("there");
    pm_change list[1];
    pm_device *device;
    pm_update *update;
    size_t position = 99;
    open_pool();
    close_store(store);
    store = open_with(place("pool.db"), 30);
    OK(pm_update_begin(store, PM_LIT("there"), &update, &device, why()));
    list[0] = change(PM_CHANGE_REMOVE, &there);
    FAILS(PM_ERR_TIMEOUT, pm_apply(store, list, 1, &position, why()));
    CHECK_INT(1, position);
    pm_update_abort(update);
    position = 99;
    FAILS(PM_ERR_INVALID_ARGUMENT, pm_apply(NULL, list, 1, &position, why()));
    FAILS(PM_ERR_INVALID_ARGUMENT, pm_apply(store, NULL, 1, &position, why()));
    FAILS(PM_ERR_INVALID_ARGUMENT, pm_apply(store, list, SIZE_MAX, NULL, why()));
    CHECK_INT(1, position);
    OK(pm_apply(store, NULL, 0, NULL, why()));
    OK(pm_apply(store, list, 1, NULL, why()));
    CHECK_INT(0, device_count(store));
    check_store(store);
    close_store(store);
}

static const struct test tests[] = {
    NAMED(all_kinds_in_one_commit),
    NAMED(one_refusal_undoes_all),
    NAMED(what_is_no_ones_fault_tells_no_position),
};
TEST_MAIN(tests)
