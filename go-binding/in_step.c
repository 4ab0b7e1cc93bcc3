#include "in_step.h"
#include "report.h"

/* Copies a name, and returns where the next one goes. */
static char *put(char *at, const char *name, size_t len)
{
    if (len > 0) {
        memcpy(at, name, len);
    }
    return at + len;
}

int32_t pmgo_list_ids(uintptr_t store, uint32_t states, uint32_t first, uint32_t last,
                      pmgo_reply *reply)
{
    pm_error error;
    pm_id_list *list = NULL;
    size_t i;
    int32_t status;

    begin(&error);
    status = pm_list_ids((pm_store *)store, states, first, last, &list, &error);
    if (status == PM_OK) {
        reply->handle = (uintptr_t)list;
        reply->count = list->count;
        for (i = 0; i < list->count; i++) {
            reply->size += list->ids[i].name_len;
        }
    }
    return end(status, &error, reply);
}

void pmgo_ids_rows(uintptr_t from, pmgo_row *rows, char *names)
{
    pm_id_list *list = (pm_id_list *)from;
    size_t i;

    for (i = 0; i < list->count; i++) {
        rows[i].device_id = list->ids[i].device_id;
        rows[i].kind = list->ids[i].state;
        rows[i].name_len = list->ids[i].name_len;
        names = put(names, list->ids[i].name, list->ids[i].name_len);
    }
    pm_free(list);
}

int32_t pmgo_list_intents(uintptr_t store, pmgo_reply *reply)
{
    pm_error error;
    pm_intent_list *list = NULL;
    size_t i;
    int32_t status;

    begin(&error);
    status = pm_list_intents((pm_store *)store, &list, &error);
    if (status == PM_OK) {
        reply->handle = (uintptr_t)list;
        reply->count = list->count;
        for (i = 0; i < list->count; i++) {
            reply->size += list->intents[i]->name_len;
        }
    }
    return end(status, &error, reply);
}

void pmgo_intents_rows(uintptr_t from, pmgo_row *rows, char *names)
{
    pm_intent_list *list = (pm_intent_list *)from;
    size_t i;

    for (i = 0; i < list->count; i++) {
        const pm_intent *intent = list->intents[i];

        rows[i].number = intent->number;
        rows[i].commit = intent->commit;
        rows[i].transaction = intent->transaction_id;
        rows[i].device_id = intent->device_id;
        rows[i].kind = intent->kind;
        rows[i].name_len = intent->name_len;
        names = put(names, intent->name, intent->name_len);
    }
    pm_free(list);
}

int32_t pmgo_walk_removals(uintptr_t walk, uint64_t since, uint64_t *commit, pmgo_reply *reply)
{
    pm_error error;
    pm_removals *list = NULL;
    size_t i;
    int32_t status;

    begin(&error);
    status = pm_walk_get_removals((pm_walk *)walk, since, &list, &error);
    if (status == PM_OK) {
        reply->handle = (uintptr_t)list;
        reply->count = list->count;
        reply->last_id = (uint32_t)list->complete;
        *commit = list->commit;
        for (i = 0; i < list->count; i++) {
            reply->size += list->removals[i]->name_len;
        }
    }
    return end(status, &error, reply);
}

void pmgo_removals_rows(uintptr_t from, pmgo_row *rows, char *names)
{
    pm_removals *list = (pm_removals *)from;
    size_t i;

    for (i = 0; i < list->count; i++) {
        const pm_removal *removal = list->removals[i];

        rows[i].commit = removal->commit;
        rows[i].device_id = removal->device_id;
        rows[i].name_len = removal->name_len;
        names = put(names, removal->name, removal->name_len);
    }
    pm_free(list);
}

int32_t pmgo_walk_filtered(uintptr_t store, uint32_t states, uint32_t first, uint32_t last,
                           uint64_t since, const char *parent, size_t parent_len,
                           int32_t any_parent, pmgo_reply *reply)
{
    pm_error error;
    pm_filter filter = PM_FILTER_INIT;
    pm_walk *walk = NULL;
    int32_t status;

    begin(&error);
    filter.states = states;
    filter.first_id = first;
    filter.last_id = last;
    filter.since = since;
    if (!any_parent) {
        filter.parent_name = parent_len > 0 ? parent : "";
        filter.parent_name_len = parent_len;
    }
    status = pm_walk_open_filtered((pm_store *)store, &filter, &walk, &error);
    reply->handle = (uintptr_t)walk;
    return end(status, &error, reply);
}

int32_t pmgo_begin_intent(uintptr_t store, int32_t kind, uint32_t device_id, uint64_t transaction,
                          const char *name, size_t name_len, pmgo_reply *reply)
{
    pm_error error;
    pm_intent intent = PM_INTENT_INIT;
    int32_t status;

    begin(&error);
    intent.kind = kind;
    intent.device_id = device_id;
    intent.transaction_id = transaction;
    intent.name = name;
    intent.name_len = name_len;
    status = pm_begin_intent((pm_store *)store, &intent, &error);
    reply->count = intent.number;
    reply->size = intent.commit;
    return end(status, &error, reply);
}

int32_t pmgo_finish_intent(uintptr_t store, uint64_t number, pmgo_reply *reply)
{
    pm_error error;

    begin(&error);
    return end(pm_finish_intent((pm_store *)store, number, &error), &error, reply);
}

int32_t pmgo_open_identity(const char *path, size_t path_len, const pm_options *options,
                           const char *identity, size_t identity_len, pmgo_reply *reply)
{
    pm_options with = *options;

    with.identity = identity;
    with.identity_len = identity_len;
    return pmgo_open(path, path_len, &with, reply);
}

int32_t pmgo_get_identity(uintptr_t store, pmgo_reply *reply)
{
    pm_error error;
    pm_name *identity = NULL;
    int32_t status;

    begin(&error);
    status = pm_get_identity((pm_store *)store, &identity, &error);
    reply->handle = (uintptr_t)identity;
    reply->size = identity != NULL ? identity->name_len : 0;
    return end(status, &error, reply);
}

void pmgo_identity_take(uintptr_t from, char *to)
{
    pm_name *identity = (pm_name *)from;

    (void)put(to, identity->name, identity->name_len);
    pm_free(identity);
}

int32_t pmgo_set_identity(uintptr_t store, const char *identity, size_t len, pmgo_reply *reply)
{
    pm_error error;

    begin(&error);
    return end(pm_set_identity((pm_store *)store, identity, len, &error), &error, reply);
}
