/* What the Go package calls to make several changes at once. See native.h for the conventions. */
#ifndef PMGO_CHANGES_H
#define PMGO_CHANGES_H

#include "native.h"

/* A change; its texts are in a block that all changes share, one behind the other. */
typedef struct pmgo_change {
    uint64_t size;
    uint64_t generation; /* set on success */
    size_t name_len;
    size_t parent_len;
    size_t text_len;
    uintptr_t detail;   /* of pmgo_apply_each: a pm_error for pmgo_take_detail, or 0 */
    uint32_t device_id; /* set on success */
    int32_t state;
    int32_t kind;
    int32_t status; /* of pmgo_apply_each */
} pmgo_change;

/* On failure, reply->count is the position of the change that was refused, or count. */
int32_t pmgo_apply(uintptr_t store, pmgo_change *changes, size_t count, const char *texts, pmgo_reply *reply);
/* Tells for each change how it ended. */
void pmgo_apply_each(uintptr_t store, pmgo_change *changes, size_t count, const char *texts);

#endif
