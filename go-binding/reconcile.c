#include "reconcile.h"
#include "report.h"

/* The error of a call that has no memory for its arguments. */
static int32_t no_memory(pmgo_reply *reply)
{
    reply->detail = 0;
    return PM_ERR_NO_MEMORY;
}

int32_t pmgo_reconcile(uintptr_t store, const uint32_t *ids, size_t count, const char *names,
                       const size_t *name_lens, int64_t name_count, uint64_t commit,
                       int32_t in_use, pmgo_counts *counts, pmgo_reply *reply)
{
    pm_error error;
    pm_pool_state pool = PM_POOL_STATE_INIT;
    pm_reconciliation *found = NULL;
    pm_name *list = NULL;
    size_t i;
    int32_t status;

    begin(&error);
    if (name_count >= 0) {
        /* One more than there are, because no names are an array too. */
        list = calloc((size_t)name_count + 1, sizeof *list);
        if (list == NULL) {
            return no_memory(reply);
        }
        for (i = 0; i < (size_t)name_count; i++) {
            list[i].name = names;
            list[i].name_len = name_lens[i];
            names += name_lens[i];
        }
        pool.snapshot_count = (size_t)name_count;
    }
    pool.snapshots = list;
    pool.device_ids = ids;
    pool.device_count = count;
    pool.commit = commit;
    pool.in_use = in_use;
    status = pm_reconcile((pm_store *)store, &pool, &found, &error);
    free(list);
    if (status == PM_OK) {
        counts->commit = found->commit;
        counts->in_both = found->in_both;
        counts->newer = found->newer;
        reply->handle = (uintptr_t)found;
        reply->count = found->count;
        for (i = 0; i < found->count; i++) {
            reply->size += found->differences[i]->name_len + found->differences[i]->text_len;
        }
    }
    return end(status, &error, reply);
}

void pmgo_differences_take(uintptr_t from, pmgo_difference *differences, char *texts)
{
    pm_reconciliation *found = (pm_reconciliation *)from;
    size_t i;

    for (i = 0; i < found->count; i++) {
        const pm_difference *each = found->differences[i];

        differences[i].generation = each->generation;
        differences[i].name_len = each->name_len;
        differences[i].text_len = each->text_len;
        differences[i].kind = each->kind;
        differences[i].action = each->action;
        differences[i].state = each->state;
        differences[i].device_id = each->device_id;
        differences[i].in_pool = each->in_pool;
        differences[i].delete_from_pool = each->delete_from_pool;
        memcpy(texts, each->name, each->name_len);
        memcpy(texts + each->name_len, each->text, each->text_len);
        texts += each->name_len + each->text_len;
    }
    pm_free(found);
}

int32_t pmgo_apply_reconciliation(uintptr_t store, const pmgo_difference *differences,
                                  size_t count, const char *names, pmgo_reply *reply)
{
    pm_error error;
    pm_difference *list = calloc(count + 1, sizeof *list);
    const pm_difference **pointers = calloc(count + 1, sizeof *pointers);
    size_t i;
    int32_t status;

    begin(&error);
    if (list == NULL || pointers == NULL) {
        free(list);
        free(pointers);
        return no_memory(reply);
    }
    for (i = 0; i < count; i++) {
        list[i].struct_size = sizeof *list;
        list[i].generation = differences[i].generation;
        list[i].action = differences[i].action;
        list[i].device_id = differences[i].device_id;
        list[i].name = names;
        list[i].name_len = differences[i].name_len;
        names += differences[i].name_len;
        pointers[i] = &list[i];
    }
    status = pm_apply_reconciliation((pm_store *)store, pointers, count, &reply->count, &error);
    free(list);
    free(pointers);
    return end(status, &error, reply);
}
