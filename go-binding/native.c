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

/* A device as Go has it. */
static pm_device given(const char *name, size_t name_len, const char *parent, size_t parent_len, const char *text,
                       size_t text_len, uint64_t size, int32_t state)
{
    pm_device device = PM_DEVICE_INIT;

    device.size = size;
    device.state = state;
    device.name = name;
    device.name_len = name_len;
    device.parent_name = parent;
    device.parent_name_len = parent_len;
    device.error = text;
    device.error_len = text_len;
    return device;
}

int32_t pmgo_add(uintptr_t store, const char *name, size_t name_len, const char *parent, size_t parent_len,
                 const char *text, size_t text_len, uint64_t size, int32_t state, pmgo_reply *reply)
{
    pm_error error;
    pm_device device = given(name, name_len, parent, parent_len, text, text_len, size, state);
    int32_t status;

    prepare(&error);
    status = pm_add_device((pm_store *)store, &device, &error);
    reply->device_id = device.device_id;
    reply->generation = device.generation;
    return finish(status, &error, reply);
}

int32_t pmgo_update(uintptr_t store, uint32_t device_id, uint64_t generation, const char *name, size_t name_len,
                    const char *parent, size_t parent_len, const char *text, size_t text_len, uint64_t size,
                    int32_t state, pmgo_reply *reply)
{
    pm_error error;
    pm_device device = given(name, name_len, parent, parent_len, text, text_len, size, state);
    pm_change change;

    prepare(&error);
    device.device_id = device_id;
    device.generation = generation;
    change.kind = PM_CHANGE_UPDATE;
    change.device = &device;
    return finish(pm_apply_each((pm_store *)store, &change, 1, NULL, &error), &error, reply);
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

static char *put_text(char *at, const char *text, size_t len)
{
    if (len > 0) {
        memcpy(at, text, len);
    }
    at[len] = '\0';
    return at + len + 1;
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
    if (status != PM_ERR_BUFFER_TOO_SMALL) {
        pm_walk_close(walk);
        reply->handle = 0;
        reply->then = finish(status, &error, reply);
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
