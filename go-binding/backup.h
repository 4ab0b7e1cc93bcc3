/* The C functions that the Go package calls to copy stores. See native.h for the conventions. */
#ifndef PMGO_BACKUP_H
#define PMGO_BACKUP_H

#include "native.h"

int32_t pmgo_backup(uintptr_t store, const char *path, size_t path_len, uint32_t flags,
                    pmgo_reply *reply);

/* reply->handle is where the old file is kept, a path of reply->size bytes; 0 if there was none. */
int32_t pmgo_restore(const char *backup, size_t backup_len, const char *path, size_t path_len,
                     const pm_options *options, pm_restored *restored, pmgo_reply *reply);
/* reply->size is the length of the file before, reply->count its length now. */
int32_t pmgo_compact(const char *path, size_t path_len, const pm_options *options,
                     pmgo_reply *reply);
/* Copies a path and frees it. */
void pmgo_path_take(uintptr_t from, char *to);

#endif
