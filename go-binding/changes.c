#include "changes.h"

#include <stdlib.h>

/* What the library takes, made of what Go gave. */
typedef struct list {
    pm_change *changes;
    pm_device *devices;
    pm_error *error;
} list;

static void free_list(list *made)
{
    free(made->changes);
    free(made->devices);
}

static int make_list(list *made, const pmgo_change *from, size_t count, const char *texts)
{
    size_t i;

    made->changes = calloc(count, sizeof *made->changes);
    made->devices = calloc(count, sizeof *made->devices);
    made->error = calloc(1, sizeof *made->error);
    if (made->changes == NULL || made->devices == NULL || made->error == NULL) {
        return 0;
    }
    made->error->struct_size = sizeof *made->error;
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

    if (make_list(&made, changes, count, texts)) {
        status = pm_apply((pm_store *)store, made.changes, count, &refused, made.error);
        if (status != PM_OK) {
            reply->detail = (uintptr_t)made.error;
            made.error = NULL;
        }
    }
    reply->count = refused;
    for (i = 0; status == PM_OK && i < count; i++) {
        changes[i].device_id = made.devices[i].device_id;
        changes[i].generation = made.devices[i].generation;
    }
    free(made.error);
    free_list(&made);
    return status;
}
