/*
 * The pool's identity and the changes of it that have begun, as C sees them. What the operations
 * mean is in tests/meaning/journal.rs.
 */
#include "test.h"

#include <stdint.h>
#include <string.h>

static pm_store *store;

static void store_of_another_pool_is_refused(void) {
    pm_options options = PM_OPTIONS_INIT;
    pm_store *other = UNTOUCHED;
    pm_name *identity = NULL;
    options.identity = "pool a";
    options.identity_len = 6;
    OK(pm_open(PM_CSTR(place("pool.db")), &options, &store, why()));
    OK(pm_get_identity(store, &identity, why()));
    CHECK_BYTES("pool a", 6, identity->name, identity->name_len);
    pm_free(identity);
    close_store(store);
    options.identity = "pool b";
    FAILS(PM_ERR_OTHER_POOL, pm_open(PM_CSTR(place("pool.db")), &options, &other, why()));
    CHECK(other == UNTOUCHED && strstr(told()->message, place("pool.db")) != NULL);
    store = open_with(place("pool.db"), 0);
    OK(pm_set_identity(store, "pool b", 6, why()));
    close_store(store);
    OK(pm_open(PM_CSTR(place("pool.db")), &options, &store, why()));
    check_store(store);
    close_store(store);
}

static void intent_is_listed_until_it_is_finished(void) {
    pm_intent intent = PM_INTENT_INIT;
    pm_intent_list *list = NULL;
    store = open_new("pool.db");
    intent.kind = PM_INTENT_CREATE;
    intent.device_id = 7;
    intent.transaction_id = 40;
    intent.name = "base";
    intent.name_len = 4;
    OK(pm_begin_intent(store, &intent, why()));
    CHECK(intent.number == 1 && intent.commit == 1);
    close_store(store);
    store = open_with(place("pool.db"), 0);
    OK(pm_list_intents(store, &list, why()));
    CHECK_INT(1, list->count);
    CHECK(list->intents[0]->number == 1 && list->intents[0]->device_id == 7);
    CHECK(list->intents[0]->transaction_id == 40);
    CHECK_BYTES("base", 4, list->intents[0]->name, list->intents[0]->name_len);
    pm_free(list);
    OK(pm_finish_intent(store, 1, why()));
    FAILS(PM_ERR_NOT_FOUND, pm_finish_intent(store, 1, why()));
    OK(pm_list_intents(store, &list, why()));
    CHECK_INT(0, list->count);
    pm_free(list);
    check_store(store);
    close_store(store);
}

static const struct test tests[] = {
    NAMED(store_of_another_pool_is_refused),
    NAMED(intent_is_listed_until_it_is_finished),
};
TEST_MAIN(tests)
