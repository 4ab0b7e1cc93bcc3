/* The C functions that the Go package calls to check and repair stores. See native.h. */
#ifndef PMGO_CHECK_H
#define PMGO_CHECK_H

#include "native.h"

/* A report without its texts. reply->handle is the pm_report; 0 if there is none. */
typedef struct pmgo_report {
    uint64_t total;
    uint64_t unfixable;
    uint64_t left;
    size_t count;
    size_t texts_len; /* of the names and texts of all findings and of the backup's path together */
    size_t backup_len;
} pmgo_report;

typedef struct pmgo_finding {
    size_t name_len;
    size_t text_len;
    uint32_t device_id;
    int32_t kind;
    int32_t fix;
} pmgo_finding;

int32_t pmgo_check(uintptr_t store, size_t limit, pmgo_report *report, pmgo_reply *reply);
int32_t pmgo_check_file(const char *path, size_t path_len, const pm_options *options, size_t limit,
                        pmgo_report *report, pmgo_reply *reply);
int32_t pmgo_repair(const char *path, size_t path_len, uint32_t flags, const char *backup,
                    size_t backup_len, size_t limit, uint64_t lock_wait_ms, pmgo_report *report,
                    pmgo_reply *reply);
int32_t pmgo_salvage(const char *damaged, size_t damaged_len, const char *target, size_t target_len,
                     const pm_options *options, size_t limit, pm_salvaged *salvaged,
                     pmgo_report *report, pmgo_reply *reply);
/* Copies a report's findings and texts to memory of those sizes, and frees it. */
void pmgo_report_take(uintptr_t from, pmgo_finding *findings, char *texts);

#endif
