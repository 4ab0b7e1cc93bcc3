#include "changes.h"
#include "report.h"

/* Makes a library change of a Go change, and returns where the texts of the next one begin. */
static const char *fill(pm_change *change, pm_device *device, const pmgo_change *from,
                        const char *texts)
{
    memset(device, 0, sizeof *device);
    device->struct_size = sizeof *device;
    device->size = from->size;
    device->generation = from->generation;
    device->device_id = from->device_id;
    device->state = from->state;
    device->name = texts;
    device->name_len = from->name_len;
    device->parent_name = texts += from->name_len;
    device->parent_name_len = from->parent_len;
    device->error = texts += from->parent_len;
    device->error_len = from->text_len;
    change->kind = from->kind;
    change->device = device;
    return texts + from->text_len;
}

/* Copies what the store now has of a device that was written. */
static void applied(pmgo_change *to, const pm_device *from)
{
    to->device_id = from->device_id;
    to->generation = from->generation;
}

/* A single change takes no memory: most writes are single. */
static int32_t apply_one(pm_store *store, pmgo_change *only, const char *texts)
{
    pm_change change;
    pm_device device;
    pm_error error;

    fill(&change, &device, only, texts);
    begin(&error);
    only->status = pm_apply_each(store, &change, 1, NULL, &error);
    only->detail = keep(only->status, &error);
    if (only->status == PM_OK) {
        applied(only, &device);
    }
    return only->status;
}

static int32_t apply_whole(pm_store *store, const pm_change *list, size_t count, pmgo_reply *reply)
{
    pm_error error;
    size_t refused = count;
    int32_t status;

    begin(&error);
    status = pm_apply(store, list, count, &refused, &error);
    reply->count = refused;
    return end(status, &error, reply);
}

static int32_t apply_each(pm_store *store, const pm_change *list, pmgo_change *changes,
                          size_t count)
{
    pm_error *errors = malloc(count * sizeof *errors);
    size_t i;
    int32_t status;

    if (errors == NULL) {
        return PM_ERR_NO_MEMORY;
    }
    for (i = 0; i < count; i++) {
        begin(&errors[i]);
        /* The library leaves the errors alone if it refuses the list, which is then a defect. */
        errors[i].code = PM_ERR_INTERNAL;
        errors[i].os_error = 0;
        strcpy(errors[i].message, "the library has not reported how this change ended");
    }
    status = pm_apply_each(store, list, count, errors, NULL);
    for (i = 0; i < count; i++) {
        changes[i].status = errors[i].code;
        changes[i].detail = keep(errors[i].code, &errors[i]);
    }
    free(errors);
    return status;
}

int32_t pmgo_apply(uintptr_t store, int32_t how, pmgo_change *changes, size_t count,
                   const char *texts, pmgo_reply *reply)
{
    pm_store *to = (pm_store *)store;
    pm_change *list;
    pm_device *devices;
    size_t i;
    int32_t status = PM_ERR_NO_MEMORY;

    if (how == PMGO_EACH && count == 1) {
        return apply_one(to, changes, texts);
    }
    for (i = 0; i < count; i++) {
        /* The result if there is no memory to call the library with. */
        changes[i].status = PM_ERR_NO_MEMORY;
    }
    list = malloc((count + 1) * sizeof *list);
    devices = malloc((count + 1) * sizeof *devices);
    if (list != NULL && devices != NULL) {
        for (i = 0; i < count; i++) {
            texts = fill(&list[i], &devices[i], &changes[i], texts);
        }
        status = how == PMGO_WHOLE ? apply_whole(to, list, count, reply)
                                   : apply_each(to, list, changes, count);
        for (i = 0; i < count; i++) {
            if (how == PMGO_WHOLE ? status == PM_OK : changes[i].status == PM_OK) {
                applied(&changes[i], &devices[i]);
            }
        }
    } else if (how == PMGO_WHOLE) {
        reply->count = count;
    }
    free(list);
    free(devices);
    return status;
}
