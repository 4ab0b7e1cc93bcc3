#include "changes.h"
#include "report.h"

/* What a change points to. */
typedef union target {
    pm_device device;
    pm_intent intent;
} target;

/* Where the texts and the ids of the next change are. */
typedef struct blocks {
    const char *texts;
    const uint32_t *ids;
} blocks;

static int is_intent(const pmgo_change *change)
{
    return change->kind == PM_CHANGE_BEGIN_INTENT || change->kind == PM_CHANGE_FINISH_INTENT;
}

static void fill_intent(pm_intent *intent, const pmgo_change *from, const char *name)
{
    memset(intent, 0, sizeof *intent);
    intent->struct_size = sizeof *intent;
    intent->number = from->number;
    intent->transaction_id = from->size;
    intent->kind = from->state;
    intent->device_id = from->device_id;
    intent->name = name;
    intent->name_len = from->name_len;
}

static void fill_device(pm_device *device, const pmgo_change *from, const char *texts)
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
}

/* Makes a library change of a Go change. The library uses those of its fields that the kind has. */
static void fill(pm_change *change, target *to, pmgo_change *from, blocks *at)
{
    change->kind = from->kind;
    change->ids = at->ids;
    change->id_count = from->id_count;
    change->changed = &from->number;
    change->device = &to->device;
    change->intent = &to->intent;
    if (is_intent(from)) {
        fill_intent(&to->intent, from, at->texts);
    } else {
        fill_device(&to->device, from, at->texts);
    }
    at->texts += from->name_len + from->parent_len + from->text_len;
    if (from->id_count > 0) {
        at->ids += from->id_count;
    }
}

/* Copies what the store now has of what was written. */
static void applied(pmgo_change *to, const target *from)
{
    if (is_intent(to)) {
        to->number = from->intent.number;
        to->generation = from->intent.commit;
    } else {
        to->device_id = from->device.device_id;
        to->generation = from->device.generation;
    }
}

/* A single change takes no memory: most writes are single. */
static int32_t apply_one(pm_store *store, pmgo_change *only, blocks at)
{
    pm_change change;
    target to;
    pm_error error;

    fill(&change, &to, only, &at);
    begin(&error);
    only->status = pm_apply_each(store, &change, 1, NULL, &error);
    only->detail = keep(only->status, &error);
    if (only->status == PM_OK) {
        applied(only, &to);
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
                   const char *texts, const uint32_t *ids, pmgo_reply *reply)
{
    pm_store *to = (pm_store *)store;
    blocks at = { texts, ids };
    pm_change *list;
    target *targets;
    size_t i;
    int32_t status = PM_ERR_NO_MEMORY;

    if (how == PMGO_EACH && count == 1) {
        return apply_one(to, changes, at);
    }
    for (i = 0; i < count; i++) {
        /* The result if there is no memory to call the library with. */
        changes[i].status = PM_ERR_NO_MEMORY;
    }
    list = malloc((count + 1) * sizeof *list);
    targets = malloc((count + 1) * sizeof *targets);
    if (list != NULL && targets != NULL) {
        for (i = 0; i < count; i++) {
            fill(&list[i], &targets[i], &changes[i], &at);
        }
        status = how == PMGO_WHOLE ? apply_whole(to, list, count, reply)
                                   : apply_each(to, list, changes, count);
        for (i = 0; i < count; i++) {
            if (how == PMGO_WHOLE ? status == PM_OK : changes[i].status == PM_OK) {
                applied(&changes[i], &targets[i]);
            }
        }
    } else if (how == PMGO_WHOLE) {
        reply->count = count;
    }
    free(list);
    free(targets);
    return status;
}
