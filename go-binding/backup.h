/* What the Go package calls to copy stores. See native.h for the conventions. */
#ifndef PMGO_BACKUP_H
#define PMGO_BACKUP_H

#include "native.h"

int32_t pmgo_backup(uintptr_t store, const char *path, size_t path_len, uint32_t flags, pmgo_reply *reply);

/* Where the old file is kept: reply->size bytes, which reply->handle stands for; 0 if nothing was there. */
int32_t pmgo_restore(const char *backup, size_t backup_len, const char *path, size_t path_len,
                     const pm_options *options, pmgo_reply *reply);
/* Copies a path, and frees what it was in. */
void pmgo_path_take(uintptr_t from, char *to);

#endif
