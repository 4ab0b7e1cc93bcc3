/*
 * Lists of changes as C sees them: the devices that they point to, the position of a refusal, the
 * error structs of each. What the operations mean is in tests/meaning/changes.rs.
 */
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
    /* What the kind does not use is neither read nor written. */
    memset(&made, 0xa5, sizeof made);
    made.kind = kind;
    made.device = device;
    return made;
}

static pm_change change_of_ids(int32_t kind, const uint32_t *ids, size_t count,
                               uint64_t *changed) {
    pm_change made = change(kind, NULL);
    made.ids = ids;
    made.id_count = count;
    made.changed = changed;
    return made;
}

static pm_change change_of_intent(int32_t kind, pm_intent *intent) {
    pm_change made = change(kind, NULL);
    made.intent = intent;
    return made;
}

static uint64_t commits(void) {
    pm_stats stats = PM_STATS_INIT;
    OK(pm_get_stats(store, &stats, why()));
    return stats.commits;
}

static void changes_of_all_kinds_set_id_and_generation(void) {
    pm_device *got;
    pm_device added = device_named("added"), gone = device_named("there");
    pm_device odd = device_named("added"), again = device_named("added");
    pm_device state = device_named("added"), update = device_named("kept");
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

/* Fails unless the list with `bad` in its middle is refused there and has changed nothing. */
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

static void refused_list_reports_the_position_and_changes_no_device(void) {
    pm_device there = device_named("there"), stale = there, bad_state = there, bad_size = there;
    open_pool();
    stale.device_id = 1;
    stale.generation = 2;
    bad_state.state = PM_STATE_FAULTY + 1;
    bad_size.struct_size = 8;
    refused(PM_ERR_ALREADY_EXISTS, change(PM_CHANGE_ADD, &there));
    refused(PM_ERR_CONFLICT, change(PM_CHANGE_UPDATE, &stale));
    refused(PM_ERR_INVALID_STATE, change(PM_CHANGE_STATE, &bad_state));
    refused(PM_ERR_STRUCT_SIZE, change(PM_CHANGE_REMOVE, &bad_size));
    refused(PM_ERR_INVALID_ARGUMENT, change(PM_CHANGE_REMOVE, NULL));
    refused(PM_ERR_INVALID_ARGUMENT, change(PM_CHANGE_FINISH_INTENT + 1, &there));
    refused(PM_ERR_INVALID_ARGUMENT, change(-1, &there));
    close_store(store);
}

static void changes_of_ids_and_intents_report_what_they_did(void) {
    static const uint32_t odd[] = { 5, 2, 5, 1 }, last = 6;
    pm_device added = device_named("new");
    pm_intent begun = PM_INTENT_INIT, ended = PM_INTENT_INIT;
    pm_intent_list *open = NULL;
    uint64_t marked = 77, freed = 77, up_to = 77;
    pm_change list[6];
    open_pool();
    begun.kind = PM_INTENT_CREATE;
    begun.name = "new";
    begun.name_len = 3;
    begun.device_id = 3;
    begun.transaction_id = UINT64_MAX;
    ended.number = 1;
    list[0] = change_of_ids(PM_CHANGE_MARK_IDS_FAULTY, odd, COUNT(odd), &marked);
    list[1] = change(PM_CHANGE_ADD, &added);
    list[2] = change_of_intent(PM_CHANGE_BEGIN_INTENT, &begun);
    list[3] = change_of_ids(PM_CHANGE_FREE_FAULTY_IDS, odd, 1, &freed);
    list[4] = change_of_ids(PM_CHANGE_MARK_IDS_FAULTY_UP_TO, &last, 1, &up_to);
    OK(pm_apply(store, list, 5, NULL, why()));
    /* 2 and 5; "new" gets 3; 2 is freed again; then 2, 4 and 6. */
    CHECK(marked == 2 && added.device_id == 3 && freed == 1 && up_to == 3);
    CHECK(begun.number == 1 && begun.commit == 2 && added.generation == 2);
    OK(pm_list_intents(store, &open, why()));
    CHECK(open->count == 1 && open->intents[0]->transaction_id == UINT64_MAX);
    pm_free(open);
    list[0] = change_of_intent(PM_CHANGE_FINISH_INTENT, &ended);
    list[1] = change_of_ids(PM_CHANGE_FREE_FAULTY_IDS, NULL, 0, NULL);
    OK(pm_apply_each(store, list, 2, NULL, why()));
    CHECK_INT(3, commits());
    FAILS(PM_ERR_NOT_FOUND, pm_finish_intent(store, 1, why()));
    check_store(store);
    close_store(store);
}

static void impossible_change_of_ids_or_intents_is_refused(void) {
    static const uint32_t ids[] = { 1, (uint32_t)1 << 24 };
    pm_intent intent = PM_INTENT_INIT, nameless, small, unkind;
    uint64_t changed = 77;
    open_pool();
    intent.kind = PM_INTENT_DELETE;
    intent.name = "gone";
    intent.name_len = 4;
    nameless = small = unkind = intent;
    nameless.name = NULL;
    small.struct_size = 8;
    unkind.kind = 0;
    refused(PM_ERR_INVALID_ARGUMENT,
            change_of_ids(PM_CHANGE_MARK_IDS_FAULTY, ids, 2, &changed));
    refused(PM_ERR_INVALID_ARGUMENT,
            change_of_ids(PM_CHANGE_MARK_IDS_FAULTY, NULL, 1, &changed));
    refused(PM_ERR_INVALID_ARGUMENT,
            change_of_ids(PM_CHANGE_FREE_FAULTY_IDS, ids, SIZE_MAX, &changed));
    refused(PM_ERR_INVALID_ARGUMENT,
            change_of_ids(PM_CHANGE_MARK_IDS_FAULTY_UP_TO, ids, 0, &changed));
    refused(PM_ERR_INVALID_ARGUMENT,
            change_of_ids(PM_CHANGE_MARK_IDS_FAULTY_UP_TO, ids, 2, &changed));
    refused(PM_ERR_INVALID_ARGUMENT, change_of_intent(PM_CHANGE_BEGIN_INTENT, NULL));
    refused(PM_ERR_INVALID_ARGUMENT, change_of_intent(PM_CHANGE_BEGIN_INTENT, &nameless));
    refused(PM_ERR_INVALID_ARGUMENT, change_of_intent(PM_CHANGE_BEGIN_INTENT, &unkind));
    refused(PM_ERR_STRUCT_SIZE, change_of_intent(PM_CHANGE_BEGIN_INTENT, &small));
    refused(PM_ERR_INVALID_ARGUMENT, change_of_intent(PM_CHANGE_FINISH_INTENT, NULL));
    refused(PM_ERR_STRUCT_SIZE, change_of_intent(PM_CHANGE_FINISH_INTENT, &small));
    refused(PM_ERR_NOT_FOUND, change_of_intent(PM_CHANGE_FINISH_INTENT, &intent));
    CHECK_INT(77, changed);
    CHECK_INT(0, intent.number);
    close_store(store);
}

static void list_that_is_none_is_refused(void) {
    pm_device there = device_named("there");
    pm_change list[1];
    size_t position = 99;
    open_pool();
    list[0] = change(PM_CHANGE_REMOVE, &there);
    FAILS(PM_ERR_INVALID_ARGUMENT, pm_apply(NULL, list, 1, &position, why()));
    CHECK_INT(1, position); /* no change of the list is at fault */
    FAILS(PM_ERR_INVALID_ARGUMENT, pm_apply(store, NULL, 1, &position, why()));
    FAILS(PM_ERR_INVALID_ARGUMENT, pm_apply(store, list, SIZE_MAX, NULL, why()));
    OK(pm_apply(store, NULL, 0, NULL, why()));
    OK(pm_apply(store, list, 1, NULL, why()));
    CHECK_INT(0, device_count(store));
    close_store(store);
}

static void prepare(pm_error *errors, size_t count) {
    static const pm_error first = PM_ERROR_INIT;
    size_t i;
    for (i = 0; i < count; i++) {
        memset(&errors[i], 0x7a, sizeof errors[i]);
        errors[i].struct_size = first.struct_size;
    }
}

static void each_change_has_an_error_struct_of_its_own(void) {
    static pm_error errors[9];
    pm_device added = device_named("added"), again = added;
    pm_device there = device_named("there"), state = there;
    pm_device none = device_named("none"), bad = device_named("bad");
    pm_change list[COUNT(errors)];
    open_pool();
    prepare(errors, COUNT(errors));
    bad.state = PM_STATE_FAULTY + 1;
    state.state = PM_STATE_SUSPENDED;
    list[0] = change(PM_CHANGE_ADD, &added);
    list[1] = change(PM_CHANGE_ADD, &there);
    list[2] = change(PM_CHANGE_REMOVE, &none);
    list[3] = change(PM_CHANGE_ADD, &bad);
    list[4] = change(PM_CHANGE_STATE, &state);
    list[5] = change(PM_CHANGE_REMOVE, &again);
    list[6] = change(PM_CHANGE_REMOVE, NULL);
    list[7] = change(PM_CHANGE_FREE_ID + 1, &there);
    list[8] = change(PM_CHANGE_ADD, &again);
    FAILS(PM_ERR_ALREADY_EXISTS, pm_apply_each(store, list, COUNT(list), errors, why()));
    CHECK(strstr(told()->message, "\"there\"") != NULL);
    CHECK(strcmp(told()->message, errors[1].message) == 0);
    CHECK_INT(PM_OK, errors[0].code);
    CHECK_INT(PM_ERR_ALREADY_EXISTS, errors[1].code);
    CHECK_INT(PM_ERR_NOT_FOUND, errors[2].code);
    CHECK_INT(PM_ERR_INVALID_STATE, errors[3].code);
    CHECK_INT(PM_OK, errors[4].code);
    CHECK_INT(PM_OK, errors[5].code);
    CHECK_INT(PM_ERR_INVALID_ARGUMENT, errors[6].code);
    CHECK_INT(PM_ERR_INVALID_ARGUMENT, errors[7].code);
    CHECK_INT(PM_OK, errors[8].code);
    CHECK(strstr(errors[2].message, "\"none\"") != NULL && errors[0].os_error == 0x7a7a7a7a);
    /* The first changes of all devices share a commit; later ones of a device come after it. */
    CHECK(added.device_id == 2 && added.generation == 2);
    CHECK(state.device_id == 1 && state.generation == 3);
    CHECK(again.device_id == 2 && again.generation == 5);
    CHECK(there.device_id == 0 && none.device_id == 0);
    CHECK_INT(5, commits());
    CHECK_INT(PM_STATE_SUSPENDED, state_of(store, "there"));
    CHECK_INT(2, device_count(store));
    OK(pm_apply_each(store, &list[4], 1, NULL, why()));
    OK(pm_apply_each(store, NULL, 0, NULL, why()));
    check_store(store);
    close_store(store);
}

static void call_that_is_wrong_changes_nothing(void) {
    static pm_error errors[2];
    pm_device first = device_named("first"), second = device_named("second");
    pm_change list[2];
    open_pool();
    list[0] = change(PM_CHANGE_ADD, &first);
    list[1] = change(PM_CHANGE_ADD, &second);
    prepare(errors, COUNT(errors));
    errors[1].struct_size = 64;
    FAILS(PM_ERR_STRUCT_SIZE, pm_apply_each(store, list, COUNT(list), errors, why()));
    errors[0].struct_size = 7;
    FAILS(PM_ERR_STRUCT_SIZE, pm_apply_each(store, list, COUNT(list), errors, why()));
    errors[0].struct_size = 61;
    FAILS(PM_ERR_STRUCT_SIZE, pm_apply_each(store, list, COUNT(list), errors, why()));
    prepare(errors, COUNT(errors));
    FAILS(PM_ERR_INVALID_ARGUMENT, pm_apply_each(NULL, list, COUNT(list), errors, why()));
    FAILS(PM_ERR_INVALID_ARGUMENT, pm_apply_each(store, NULL, COUNT(list), errors, why()));
    FAILS(PM_ERR_INVALID_ARGUMENT, pm_apply_each(store, list, SIZE_MAX, NULL, why()));
    CHECK(errors[0].code == 0x7a7a7a7a && first.device_id == 0);
    CHECK_INT(1, commits());
    OK(pm_apply_each(store, list, COUNT(list), errors, why()));
    CHECK_INT(2, commits());
    close_store(store);
    prepare(errors, COUNT(errors));
    FAILS(PM_ERR_CLOSED, pm_apply_each(store, list, COUNT(list), errors, why()));
    CHECK(errors[0].code == PM_ERR_CLOSED && errors[1].code == PM_ERR_CLOSED);
}

static void list_that_one_commit_cannot_take_is_refused_at_once(void) {
    static pm_change list[100002];
    pm_device gone = device_named("gone"), added = device_named("added");
    size_t i, refused = 0;
    open_pool();
    for (i = 0; i < COUNT(list); i++) {
        list[i] = change(PM_CHANGE_REMOVE, &gone);
    }
    list[0] = change(PM_CHANGE_ADD, &added);
    FAILS(PM_ERR_TOO_MANY_CHANGES, pm_apply(store, list, COUNT(list), &refused, why()));
    CHECK_INT(COUNT(list), refused);
    CHECK_INT(1, commits());
    close_store(store);
}

static const struct test tests[] = {
    NAMED(changes_of_all_kinds_set_id_and_generation),
    NAMED(refused_list_reports_the_position_and_changes_no_device),
    NAMED(changes_of_ids_and_intents_report_what_they_did),
    NAMED(impossible_change_of_ids_or_intents_is_refused),
    NAMED(list_that_is_none_is_refused),
    NAMED(list_that_one_commit_cannot_take_is_refused_at_once),
    NAMED(each_change_has_an_error_struct_of_its_own),
    NAMED(call_that_is_wrong_changes_nothing),
};
TEST_MAIN(tests)
