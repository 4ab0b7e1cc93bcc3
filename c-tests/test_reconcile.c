/*
 * A store compared with its pool as C sees it: the lists that go in, the block that comes out, the
 * differences that go back. What the operations mean is in tests/meaning/reconcile.rs.
 */
#include "test.h"

#include <stdint.h>
#include <string.h>

static pm_store *store;

/* Devices a to d, with the ids 1 to 4; 5 is faulty, and no device has it. */
static void open_pool(void) {
    static const uint32_t faulty = 5;
    store = open_new("pool.db");
    add(store, "a");
    add(store, "b");
    add(store, "c");
    add(store, "d");
    OK(pm_mark_ids_faulty(store, &faulty, 1, NULL, why()));
}

static uint64_t commits(void) {
    pm_stats stats = PM_STATS_INIT;
    OK(pm_get_stats(store, &stats, why()));
    return stats.commits;
}

static pm_pool_state pool_of(const uint32_t *ids, size_t count) {
    pm_pool_state pool = PM_POOL_STATE_INIT;
    pool.device_ids = ids;
    pool.device_count = count;
    return pool;
}

static pm_reconciliation *compare(const pm_pool_state *pool) {
    pm_reconciliation *found = UNTOUCHED;
    OK(pm_reconcile(store, pool, &found, why()));
    CHECK_INT(sizeof(pm_reconciliation), found->struct_size);
    return found;
}

static void check_difference(const pm_difference *found, int32_t kind, int32_t action,
                             const char *name, uint32_t device_id) {
    CHECK_INT(sizeof(pm_difference), found->struct_size);
    CHECK_INT(kind, found->kind);
    CHECK_INT(action, found->action);
    CHECK_INT(device_id, found->device_id);
    CHECK_BYTES(name, strlen(name), found->name, found->name_len);
    CHECK(found->name[found->name_len] == '\0' && strlen(found->text) == found->text_len);
    CHECK(found->text_len > 0 && strstr(found->text, name) != NULL);
}

static void differences_are_listed_and_applied(void) {
    static const uint32_t ids[] = { 9, 1, 2, 3, 0 };
    static const pm_name names[] = { { "a", 1 }, { "b", 1 }, { "d", 1 }, { "x", 1 } };
    const pm_difference *const *all;
    pm_reconciliation *found;
    pm_pool_state pool = pool_of(ids, COUNT(ids));
    pm_device *device = NULL;
    uint64_t applied = 77;
    open_pool();
    pool.snapshots = names;
    pool.snapshot_count = COUNT(names);
    found = compare(&pool);
    CHECK(found->in_both == 3 && found->newer == 0 && found->commit == commits());
    CHECK_INT(6, found->count);
    all = found->differences;
    check_difference(all[0], PM_DIFFERENCE_NO_SNAPSHOT, PM_ACTION_REMOVE_RECORD_KEEP_ID, "c",
                     3);
    CHECK(all[0]->in_pool == 1 && all[0]->delete_from_pool == 1 && all[0]->generation == 3);
    CHECK_INT(state_of(store, "c"), all[0]->state);
    check_difference(all[1], PM_DIFFERENCE_ONLY_IN_STORE, PM_ACTION_NOTHING, "d", 4);
    CHECK(all[1]->in_pool == 0 && all[1]->delete_from_pool == 0);
    check_difference(all[2], PM_DIFFERENCE_FOREIGN_ID, PM_ACTION_NOTHING, "", 0);
    CHECK(all[2]->in_pool == 1 && all[2]->delete_from_pool == 0 && all[2]->state == -1);
    check_difference(all[3], PM_DIFFERENCE_ID_WOULD_COLLIDE, PM_ACTION_MARK_ID_FAULTY, "", 9);
    CHECK(all[3]->in_pool == 1 && all[3]->delete_from_pool == 1 && all[3]->generation == 0);
    check_difference(all[4], PM_DIFFERENCE_ID_LEAKED, PM_ACTION_FREE_ID, "", 5);
    check_difference(all[5], PM_DIFFERENCE_NO_DEVICE, PM_ACTION_NOTHING, "x", 0);
    CHECK_INT(5, commits());
    OK(pm_apply_reconciliation(store, all, found->count, &applied, why()));
    CHECK_INT(3, applied);
    CHECK_INT(6, commits());
    FAILS(PM_ERR_NOT_FOUND, pm_get_device(store, "c", 1, &device, why()));
    FAILS(PM_ERR_ID_NOT_FAULTY, pm_free_id(store, 5, why()));
    check_store(store);
    /* The plan is that of a store that has changed since. */
    FAILS(PM_ERR_NOT_FOUND, pm_apply_reconciliation(store, all, found->count, &applied, why()));
    CHECK(applied == 3 && commits() == 6);
    OK(pm_free_id(store, 3, why()));
    pm_free(found);
    close_store(store);
}

static void chosen_differences_are_applied_alone(void) {
    static const uint32_t ids[] = { 1, 2, 3, 9 };
    const pm_difference *chosen[1];
    pm_reconciliation *found;
    pm_pool_state pool = pool_of(ids, COUNT(ids));
    open_pool();
    found = compare(&pool);
    CHECK_INT(3, found->count);
    chosen[0] = found->differences[2];
    OK(pm_apply_reconciliation(store, chosen, 1, NULL, why()));
    pm_free(found);
    found = compare(&pool);
    CHECK_INT(2, found->count);
    check_difference(found->differences[0], PM_DIFFERENCE_ONLY_IN_STORE, PM_ACTION_REMOVE_RECORD,
                     "d", 4);
    check_difference(found->differences[1], PM_DIFFERENCE_ID_WOULD_COLLIDE,
                     PM_ACTION_MARK_ID_FAULTY, "", 9);
    pm_free(found);
    OK(pm_apply_reconciliation(store, NULL, 0, NULL, why()));
    CHECK_INT(6, commits());
    check_store(store);
    close_store(store);
}

static void unknown_lists_differ_from_empty_ones(void) {
    static const uint32_t ids[] = { 1, 2, 3, 4, 5 };
    static const pm_name none = { NULL, 0 };
    pm_pool_state pool = pool_of(ids, COUNT(ids));
    pm_reconciliation *found;
    open_pool();
    found = compare(&pool);
    CHECK_INT(1, found->count);
    pm_free(found);
    pool.snapshots = &none;
    found = compare(&pool);
    CHECK_INT(5, found->count);
    pm_free(found);
    pool.device_ids = NULL;
    pool.device_count = 0;
    found = compare(&pool);
    CHECK_INT(4, found->count);
    check_difference(found->differences[0], PM_DIFFERENCE_NO_SNAPSHOT,
                     PM_ACTION_REMOVE_RECORD_KEEP_ID, "a", 1);
    CHECK(found->differences[0]->in_pool == 0 && found->differences[0]->delete_from_pool == 1);
    pm_free(found);
    /* c and d were written after this commit, so that the list cannot have them. */
    pool.device_ids = ids;
    pool.in_use = 1;
    pool.commit = 2;
    found = compare(&pool);
    CHECK(found->newer == 2 && found->in_both == 0);
    CHECK_INT(3, found->count);
    pm_free(found);
    close_store(store);
}

#define REFUSED_POOL(word)                                                          \
    do {                                                                            \
        FAILS(PM_ERR_INVALID_ARGUMENT, pm_reconcile(store, &pool, &found, why())); \
        CHECK(strstr(told()->message, word) != NULL);                               \
    } while (0)

static void impossible_pool_is_refused(void) {
    static const uint32_t twice[] = { 7, 1, 7 }, beyond[] = { (uint32_t)1 << 24 };
    static const pm_name nameless = { NULL, 1 };
    pm_reconciliation *found = UNTOUCHED;
    pm_pool_state pool = pool_of(twice, COUNT(twice));
    open_pool();
    REFUSED_POOL("7");
    pool.device_count = SIZE_MAX;
    REFUSED_POOL("pool.device_ids");
    pool.device_ids = NULL;
    REFUSED_POOL("pool.device_ids");
    pool = pool_of(beyond, COUNT(beyond));
    REFUSED_POOL("16777216");
    pool = pool_of(NULL, 0);
    REFUSED_POOL("nothing to compare");
    pool.snapshot_count = 1;
    REFUSED_POOL("pool.snapshots");
    pool.snapshots = &nameless;
    REFUSED_POOL("pool.snapshots[].name");
    pool.snapshot_count = SIZE_MAX;
    REFUSED_POOL("pool.snapshots");
    pool = pool_of(NULL, 0);
    pool.in_use = 2;
    REFUSED_POOL("pool.in_use");
    pool.struct_size = 8;
    FAILS(PM_ERR_STRUCT_SIZE, pm_reconcile(store, &pool, &found, why()));
    CHECK(found == UNTOUCHED);
    close_store(store);
}

#define REFUSED_DIFFERENCE(code, word)                                        \
    do {                                                                      \
        FAILS(code, pm_apply_reconciliation(store, list, 2, &applied, why())); \
        CHECK(strstr(told()->message, word) != NULL);                         \
    } while (0)

static void impossible_difference_is_refused_and_nothing_is_applied(void) {
    pm_difference fine, odd;
    const pm_difference *list[2];
    uint64_t applied = 77;
    open_pool();
    memset(&fine, 0, sizeof fine);
    fine.struct_size = sizeof fine;
    fine.action = PM_ACTION_FREE_ID;
    fine.device_id = 5;
    odd = fine;
    list[0] = &fine;
    list[1] = NULL;
    REFUSED_DIFFERENCE(PM_ERR_INVALID_ARGUMENT, "differences[1]");
    list[1] = &odd;
    odd.action = PM_ACTION_REMOVE_RECORD_KEEP_ID + 1;
    REFUSED_DIFFERENCE(PM_ERR_INVALID_ARGUMENT, "differences[1].action");
    odd.action = -1;
    REFUSED_DIFFERENCE(PM_ERR_INVALID_ARGUMENT, "differences[1].action");
    odd.action = PM_ACTION_FREE_ID;
    odd.name_len = 1;
    REFUSED_DIFFERENCE(PM_ERR_INVALID_ARGUMENT, "differences[1].name");
    odd.name_len = 0;
    odd.device_id = (uint32_t)1 << 24;
    REFUSED_DIFFERENCE(PM_ERR_INVALID_ARGUMENT, "16777216");
    odd.device_id = 4;
    REFUSED_DIFFERENCE(PM_ERR_ID_IN_USE, "\"d\"");
    odd.device_id = 5;
    REFUSED_DIFFERENCE(PM_ERR_ID_NOT_FAULTY, "5");
    odd.action = PM_ACTION_REMOVE_RECORD;
    REFUSED_DIFFERENCE(PM_ERR_NOT_FOUND, "\"\"");
    odd.action = PM_ACTION_REMOVE_RECORD_KEEP_ID;
    REFUSED_DIFFERENCE(PM_ERR_NOT_FOUND, "\"\"");
    odd.name = "d";
    odd.name_len = 1;
    odd.generation = 3;
    REFUSED_DIFFERENCE(PM_ERR_CONFLICT, "\"d\"");
    odd.struct_size = 8;
    REFUSED_DIFFERENCE(PM_ERR_STRUCT_SIZE, "differences[1]");
    FAILS(PM_ERR_INVALID_ARGUMENT,
          pm_apply_reconciliation(store, list, SIZE_MAX, &applied, why()));
    CHECK(applied == 77 && commits() == 5);
    check_store(store);
    close_store(store);
}

static const struct test tests[] = {
    NAMED(differences_are_listed_and_applied),
    NAMED(chosen_differences_are_applied_alone),
    NAMED(unknown_lists_differ_from_empty_ones),
    NAMED(impossible_pool_is_refused),
    NAMED(impossible_difference_is_refused_and_nothing_is_applied),
};
TEST_MAIN(tests)
