#include "report.h"

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

    begin(&error);
    status = pm_open(path, path_len, options, &store, &error);
    reply->handle = (uintptr_t)store;
    return end(status, &error, reply);
}

int32_t pmgo_close(uintptr_t store, pmgo_reply *reply)
{
    pm_error error;

    begin(&error);
    return end(pm_close((pm_store *)store, &error), &error, reply);
}

int32_t pmgo_deferred(uintptr_t store, pmgo_reply *reply)
{
    pm_error error;
    pm_store *deferred = NULL;
    int32_t status;

    begin(&error);
    status = pm_deferred((pm_store *)store, &deferred, &error);
    reply->handle = (uintptr_t)deferred;
    return end(status, &error, reply);
}

int32_t pmgo_sync(uintptr_t store, pmgo_reply *reply)
{
    pm_error error;

    begin(&error);
    return end(pm_sync((pm_store *)store, &error), &error, reply);
}

int32_t pmgo_verify(uintptr_t store, pmgo_reply *reply)
{
    pm_error error;

    begin(&error);
    return end(pm_verify((pm_store *)store, &error), &error, reply);
}

int32_t pmgo_stats(uintptr_t store, pm_stats *stats, pmgo_reply *reply)
{
    pm_error error;

    begin(&error);
    stats->struct_size = sizeof *stats;
    return end(pm_get_stats((pm_store *)store, stats, &error), &error, reply);
}

int32_t pmgo_running_reads(uintptr_t store, pmgo_reply *reply)
{
    pm_error error;
    pm_running_reads *reads = NULL;
    int32_t status;

    begin(&error);
    status = pm_get_running_reads((pm_store *)store, &reads, &error);
    if (status == PM_OK) {
        reply->handle = (uintptr_t)reads;
        reply->count = reads->count;
    }
    return end(status, &error, reply);
}

void pmgo_running_reads_take(uintptr_t from, pmgo_running_read *to)
{
    pm_running_reads *reads = (pm_running_reads *)from;
    size_t i;

    for (i = 0; i < reads->count; i++) {
        to[i].commits_behind = reads->reads[i]->commits_behind;
        to[i].age_ns = reads->reads[i]->age_ns;
        to[i].pid = reads->reads[i]->pid;
    }
    pm_free(reads);
}

int32_t pmgo_get(uintptr_t store, const char *name, size_t name_len, uint64_t *buffer,
                 size_t capacity, pmgo_reply *reply)
{
    pm_error error;
    size_t needed = 0;
    /* Callers often ask for devices that are absent: the first read makes no message. */
    int32_t status =
        pm_read_device((pm_store *)store, name, name_len, buffer, capacity, &needed, NULL);

    if (status != PM_OK && status != PM_ERR_NOT_FOUND && status != PM_ERR_BUFFER_TOO_SMALL) {
        begin(&error);
        status =
            pm_read_device((pm_store *)store, name, name_len, buffer, capacity, &needed, &error);
        (void)end(status, &error, reply);
    }
    reply->size = needed;
    return status;
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

    begin(&error);
    status = pm_walk_next((pm_walk *)walk, buffer, capacity, &count, &needed, &error);
    reply->count = count;
    reply->size = needed;
    return end(status, &error, reply);
}

int32_t pmgo_walk_open(uintptr_t store, uint64_t *buffer, size_t capacity, pmgo_reply *reply)
{
    pm_error error;
    pm_walk *walk = NULL;
    size_t more = 0;
    int32_t status;

    begin(&error);
    status = pm_walk_open((pm_store *)store, &walk, &error);
    if (status != PM_OK) {
        return end(status, &error, reply);
    }
    reply->handle = (uintptr_t)walk;
    status = pmgo_walk_next(reply->handle, buffer, capacity, reply);
    if (status != PM_OK) {
        return status;
    }
    /* A read without room for a record finds out whether there is one. */
    status = pm_walk_next(walk, NULL, 0, &more, NULL, &error);
    if (status != PM_ERR_BUFFER_TOO_SMALL) {
        pm_walk_close(walk);
        reply->handle = 0;
        reply->then = end(status, &error, reply);
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

    begin(&error);
    status = pm_get_device_names((pm_store *)store, &names, &error);
    if (status == PM_OK) {
        reply->handle = (uintptr_t)names;
        reply->count = names->count;
        for (i = 0; i < names->count; i++) {
            reply->size += names->names[i].name_len + 1;
        }
    }
    return end(status, &error, reply);
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
