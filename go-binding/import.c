#include "import.h"
#include "report.h"

int32_t pmgo_import(uintptr_t store, const uint64_t *records, size_t size, uint32_t last_id,
                    const uint32_t *free_ids, size_t free_count, const uint32_t *faulty_ids,
                    size_t faulty_count, pmgo_reply *reply)
{
    pm_error error;
    pm_ids ids = PM_IDS_INIT;

    begin(&error);
    ids.last_id = last_id;
    ids.free_ids = free_ids;
    ids.free_count = free_count;
    ids.faulty_ids = faulty_ids;
    ids.faulty_count = faulty_count;
    return end(pm_import((pm_store *)store, records, size, &ids, &error), &error, reply);
}

int32_t pmgo_walk_ids(uintptr_t walk, pmgo_reply *reply)
{
    pm_error error;
    pm_ids *ids = NULL;
    int32_t status;

    begin(&error);
    status = pm_walk_get_ids((pm_walk *)walk, &ids, &error);
    if (status == PM_OK) {
        reply->ids = (uintptr_t)ids;
        reply->last_id = ids->last_id;
        reply->count = ids->free_count;
        reply->size = ids->faulty_count;
    }
    return end(status, &error, reply);
}

void pmgo_ids_take(uintptr_t from, uint32_t *free_ids, uint32_t *faulty_ids)
{
    pm_ids *ids = (pm_ids *)from;

    if (ids->free_count > 0) {
        memcpy(free_ids, ids->free_ids, ids->free_count * sizeof *free_ids);
    }
    if (ids->faulty_count > 0) {
        memcpy(faulty_ids, ids->faulty_ids, ids->faulty_count * sizeof *faulty_ids);
    }
    pm_free(ids);
}

int32_t pmgo_walk_begin(uintptr_t store, pmgo_reply *reply)
{
    pm_error error;
    pm_walk *walk = NULL;
    int32_t status;

    begin(&error);
    status = pm_walk_open((pm_store *)store, &walk, &error);
    reply->handle = (uintptr_t)walk;
    return end(status, &error, reply);
}
