#include "native.h"

#include <stdlib.h>

/* The start of a pm_error that nobody has written to: filling all of it would cost each call a kilobyte. */
static void prepare(pm_error *error)
{
    error->struct_size = sizeof *error;
}

/* Keeps what a failed call reported, where Go can fetch it. Only failures pay for memory. */
static int32_t finish(int32_t status, const pm_error *error, pmgo_reply *reply)
{
    if (status != PM_OK && status != PM_ERR_NOT_FOUND && status != PM_ERR_BUFFER_TOO_SMALL
        && status != PM_ERR_STRUCT_SIZE) {
        pm_error *kept = malloc(sizeof *kept);
        if (kept != NULL) {
            *kept = *error;
            reply->detail = (uintptr_t)kept;
        }
    }
    return status;
}

void pmgo_take_detail(uintptr_t detail, pmgo_detail *to)
{
    pm_error *kept = (pm_error *)detail;

    to->code = kept->code;
    to->os_error = kept->os_error;
    to->message_len = strlen(kept->message);
    memcpy(to->message, kept->message, to->message_len);
    free(kept);
}

int32_t pmgo_open(const char *path, size_t path_len, const pm_options *options, pmgo_reply *reply)
{
    pm_error error;
    pm_store *store = NULL;
    int32_t status;

    prepare(&error);
    status = pm_open(path, path_len, options, &store, &error);
    reply->handle = (uintptr_t)store;
    return finish(status, &error, reply);
}

int32_t pmgo_close(uintptr_t store, pmgo_reply *reply)
{
    pm_error error;

    prepare(&error);
    return finish(pm_close((pm_store *)store, &error), &error, reply);
}

int32_t pmgo_sync(uintptr_t store, pmgo_reply *reply)
{
    pm_error error;

    prepare(&error);
    return finish(pm_sync((pm_store *)store, &error), &error, reply);
}

int32_t pmgo_verify(uintptr_t store, pmgo_reply *reply)
{
    pm_error error;

    prepare(&error);
    return finish(pm_verify((pm_store *)store, &error), &error, reply);
}

int32_t pmgo_stats(uintptr_t store, pm_stats *stats, pmgo_reply *reply)
{
    pm_error error;

    prepare(&error);
    stats->struct_size = sizeof *stats;
    return finish(pm_get_stats((pm_store *)store, stats, &error), &error, reply);
}

int32_t pmgo_add(uintptr_t store, const char *name, size_t name_len, const char *parent, size_t parent_len,
                 const char *text, size_t text_len, uint64_t size, int32_t state, pmgo_reply *reply)
{
    pm_error error;
    pm_device device = PM_DEVICE_INIT;
    int32_t status;

    prepare(&error);
    device.size = size;
    device.state = state;
    device.name = name;
    device.name_len = name_len;
    device.parent_name = parent;
    device.parent_name_len = parent_len;
    device.error = text;
    device.error_len = text_len;
    status = pm_add_device((pm_store *)store, &device, &error);
    reply->device_id = device.device_id;
    reply->generation = device.generation;
    return finish(status, &error, reply);
}

int32_t pmgo_get(uintptr_t store, const char *name, size_t name_len, uint64_t *buffer, size_t capacity,
                 pmgo_reply *reply)
{
    pm_error error;
    size_t needed = 0;
    /* Absent devices are asked for often: no message is made for them. */
    int32_t status = pm_read_device((pm_store *)store, name, name_len, buffer, capacity, &needed, NULL);

    if (status != PM_OK && status != PM_ERR_NOT_FOUND && status != PM_ERR_BUFFER_TOO_SMALL) {
        prepare(&error);
        status = pm_read_device((pm_store *)store, name, name_len, buffer, capacity, &needed, &error);
        (void)finish(status, &error, reply);
    }
    reply->size = needed;
    return status;
}

int32_t pmgo_change_state(uintptr_t store, const char *name, size_t name_len, int32_t state, pmgo_reply *reply)
{
    pm_error error;

    prepare(&error);
    return finish(pm_change_device_state((pm_store *)store, name, name_len, state, &error), &error, reply);
}

int32_t pmgo_mark_faulty(uintptr_t store, const char *name, size_t name_len, pmgo_reply *reply)
{
    pm_error error;

    prepare(&error);
    return finish(pm_mark_faulty((pm_store *)store, name, name_len, &error), &error, reply);
}

int32_t pmgo_remove(uintptr_t store, const char *name, size_t name_len, pmgo_reply *reply)
{
    pm_error error;

    prepare(&error);
    return finish(pm_remove_device((pm_store *)store, name, name_len, &error), &error, reply);
}

/* Bytes of a device as a record, but for what rounds it up. */
static size_t record_size(const pm_device *device)
{
    size_t size = sizeof(pm_record) + device->name_len + 1 + device->parent_name_len + 1 + device->error_len + 1;

    return (size + 7) / 8 * 8;
}

static char *put_text(char *at, const char *text, size_t len)
{
    if (len > 0) {
        memcpy(at, text, len);
    }
    at[len] = '\0';
    return at + len + 1;
}

void pmgo_update_read(uintptr_t from, uint64_t *buffer)
{
    const pm_device *device = (const pm_device *)from;
    pm_record *record = (pm_record *)(void *)buffer;
    char *at = (char *)(record + 1);

    record->record_size = (uint32_t)record_size(device);
    record->device_id = device->device_id;
    record->size = device->size;
    record->generation = device->generation;
    record->state = device->state;
    record->name_len = (uint32_t)device->name_len;
    record->parent_name_len = (uint32_t)device->parent_name_len;
    record->error_len = (uint32_t)device->error_len;
    at = put_text(at, device->name, device->name_len);
    at = put_text(at, device->parent_name, device->parent_name_len);
    (void)put_text(at, device->error, device->error_len);
}

int32_t pmgo_update_begin(uintptr_t store, const char *name, size_t name_len, uint64_t *buffer, size_t capacity,
                          pmgo_reply *reply)
{
    pm_error error;
    pm_update *update = NULL;
    pm_device *device = NULL;
    int32_t status;

    prepare(&error);
    status = pm_update_begin((pm_store *)store, name, name_len, &update, &device, &error);
    if (status == PM_OK) {
        reply->handle = (uintptr_t)update;
        reply->device = (uintptr_t)device;
        reply->size = record_size(device);
        if (reply->size <= capacity) {
            pmgo_update_read(reply->device, buffer);
        }
    }
    return finish(status, &error, reply);
}

int32_t pmgo_update_commit(uintptr_t update, uintptr_t to, uint32_t device_id, uint64_t size, int32_t state,
                           const char *name, size_t name_len, const char *parent, size_t parent_len,
                           const char *text, size_t text_len, pmgo_reply *reply)
{
    pm_error error;
    pm_device *device = (pm_device *)to;

    prepare(&error);
    device->device_id = device_id;
    device->size = size;
    device->state = state;
    device->name = name;
    device->name_len = name_len;
    device->parent_name = parent;
    device->parent_name_len = parent_len;
    device->error = text;
    device->error_len = text_len;
    /* This ends the update and the device with it, so no address of Go's stays behind. */
    return finish(pm_update_commit((pm_update *)update, &error), &error, reply);
}

void pmgo_update_abort(uintptr_t update)
{
    pm_update_abort((pm_update *)update);
}

int32_t pmgo_walk_next(uintptr_t walk, uint64_t *buffer, size_t capacity, pmgo_reply *reply)
{
    pm_error error;
    size_t count = 0, needed = 0;
    int32_t status;

    prepare(&error);
    status = pm_walk_next((pm_walk *)walk, buffer, capacity, &count, &needed, &error);
    reply->count = count;
    reply->size = needed;
    return finish(status, &error, reply);
}

int32_t pmgo_walk_open(uintptr_t store, uint64_t *buffer, size_t capacity, pmgo_reply *reply)
{
    pm_error error;
    pm_walk *walk = NULL;
    size_t more = 0;
    int32_t status;

    prepare(&error);
    status = pm_walk_open((pm_store *)store, &walk, &error);
    if (status != PM_OK) {
        return finish(status, &error, reply);
    }
    reply->handle = (uintptr_t)walk;
    status = pmgo_walk_next(reply->handle, buffer, capacity, reply);
    if (status != PM_OK) {
        return status;
    }
    /* Without room for a record, this tells whether there is one. */
    status = pm_walk_next(walk, NULL, 0, &more, NULL, &error);
    if (status == PM_OK) {
        pm_walk_close(walk);
        reply->handle = 0;
    } else if (status != PM_ERR_BUFFER_TOO_SMALL) {
        return finish(status, &error, reply);
    }
    return PM_OK;
}

void pmgo_walk_close(uintptr_t walk)
{
    pm_walk_close((pm_walk *)walk);
}

int32_t pmgo_names(uintptr_t store, pmgo_reply *reply)
{
    pm_error error;
    pm_names *names = NULL;
    size_t i;
    int32_t status;

    prepare(&error);
    status = pm_get_device_names((pm_store *)store, &names, &error);
    if (status == PM_OK) {
        reply->handle = (uintptr_t)names;
        reply->count = names->count;
        for (i = 0; i < names->count; i++) {
            reply->size += names->names[i].name_len + 1;
        }
    }
    return finish(status, &error, reply);
}

void pmgo_names_take(uintptr_t from, char *to)
{
    pm_names *names = (pm_names *)from;
    size_t i;

    for (i = 0; i < names->count; i++) {
        to = put_text(to, names->names[i].name, names->names[i].name_len);
    }
    pm_free(names);
}
