#include "changes.h"

#include <stdlib.h>

/* What the library takes, made of what Go gave. */
typedef struct list {
    pm_change *changes;
    pm_device *devices;
    pm_error *errors; /* as many as were asked for */
} list;

static void free_list(list *made)
{
    free(made->changes);
    free(made->devices);
    free(made->errors);
}

static int make_list(list *made, const pmgo_change *from, size_t count, const char *texts, size_t errors)
{
    size_t i;

    made->changes = calloc(count, sizeof *made->changes);
    made->devices = calloc(count, sizeof *made->devices);
    /* Zeroing all of each would cost a kilobyte. */
    made->errors = malloc(errors * sizeof *made->errors);
    if (made->changes == NULL || made->devices == NULL || made->errors == NULL) {
        return 0;
    }
    for (i = 0; i < errors; i++) {
        made->errors[i].struct_size = sizeof *made->errors;
        /* Should the library leave it alone, nothing was done. */
        made->errors[i].code = PM_ERR_INTERNAL;
        made->errors[i].os_error = 0;
        strcpy(made->errors[i].message, "the library has not told how this change ended");
    }
    for (i = 0; i < count; i++) {
        pm_device *device = &made->devices[i];

        device->struct_size = sizeof *device;
        device->size = from[i].size;
        device->generation = from[i].generation;
        device->device_id = from[i].device_id;
        device->state = from[i].state;
        device->name = texts;
        device->name_len = from[i].name_len;
        device->parent_name = texts += from[i].name_len;
        device->parent_name_len = from[i].parent_len;
        device->error = texts += from[i].parent_len;
        device->error_len = from[i].text_len;
        texts += from[i].text_len;
        made->changes[i].kind = from[i].kind;
        made->changes[i].device = device;
    }
    return 1;
}

int32_t pmgo_apply(uintptr_t store, pmgo_change *changes, size_t count, const char *texts, pmgo_reply *reply)
{
    list made;
    size_t refused = count, i;
    int32_t status = PM_ERR_NO_MEMORY;

    if (make_list(&made, changes, count, texts, 1)) {
        status = pm_apply((pm_store *)store, made.changes, count, &refused, made.errors);
        if (status != PM_OK) {
            reply->detail = (uintptr_t)made.errors;
            made.errors = NULL;
        }
    }
    reply->count = refused;
    for (i = 0; status == PM_OK && i < count; i++) {
        changes[i].device_id = made.devices[i].device_id;
        changes[i].generation = made.devices[i].generation;
    }
    free_list(&made);
    return status;
}

/* Copies how the call ended to one change. A device that is not there needs no message. */
static void tell(pmgo_change *change, int32_t status, const pm_error *error)
{
    change->status = status;
    if (error != NULL && status != PM_OK && status != PM_ERR_NOT_FOUND) {
        pm_error *kept = malloc(sizeof *kept);
        if (kept != NULL) {
            *kept = *error;
            change->detail = (uintptr_t)kept;
        }
    }
}

void pmgo_apply_each(uintptr_t store, pmgo_change *changes, size_t count, const char *texts)
{
    list made;
    size_t i;
    int made_it = make_list(&made, changes, count, texts, count);

    if (made_it) {
        (void)pm_apply_each((pm_store *)store, made.changes, count, made.errors, NULL);
    }
    for (i = 0; i < count; i++) {
        tell(&changes[i], made_it ? made.errors[i].code : PM_ERR_NO_MEMORY, made_it ? &made.errors[i] : NULL);
        if (changes[i].status == PM_OK) {
            changes[i].device_id = made.devices[i].device_id;
            changes[i].generation = made.devices[i].generation;
        }
    }
    free_list(&made);
}
