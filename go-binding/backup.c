#include "backup.h"
#include "report.h"

int32_t pmgo_backup(uintptr_t store, const char *path, size_t path_len, uint32_t flags,
                    pmgo_reply *reply)
{
    pm_error error;

    begin(&error);
    return end(pm_backup((pm_store *)store, path, path_len, flags, &error), &error, reply);
}

int32_t pmgo_restore(const char *backup, size_t backup_len, const char *path, size_t path_len,
                     const pm_options *options, pm_restored *restored, pmgo_reply *reply)
{
    pm_error error;
    pm_name *kept = NULL;
    int32_t status;

    begin(&error);
    restored->struct_size = sizeof *restored;
    status = pm_restore(backup, backup_len, path, path_len, options, restored, &kept, &error);
    reply->handle = (uintptr_t)kept;
    if (kept != NULL) {
        reply->size = kept->name_len;
    }
    return end(status, &error, reply);
}

int32_t pmgo_compact(const char *path, size_t path_len, const pm_options *options,
                     pmgo_reply *reply)
{
    pm_error error;

    begin(&error);
    return end(pm_compact(path, path_len, options, &reply->size, &reply->count, &error), &error,
               reply);
}

void pmgo_path_take(uintptr_t from, char *to)
{
    pm_name *path = (pm_name *)from;

    memcpy(to, path->name, path->name_len);
    pm_free(path);
}
