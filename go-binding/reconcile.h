/*
 * The C functions that the Go package calls to compare a store with its pool. See native.h for the
 * conventions.
 */
#ifndef PMGO_RECONCILE_H
#define PMGO_RECONCILE_H

#include "native.h"

/* A pm_difference. Its texts are in a block that all share: name and text, one behind the other. */
typedef struct pmgo_difference {
    uint64_t generation;
    size_t name_len;
    size_t text_len;
    int32_t kind;
    int32_t action;
    int32_t state;
    uint32_t device_id;
    int32_t in_pool;
    int32_t delete_from_pool;
} pmgo_difference;

/* What a pm_reconciliation says beside its differences. */
typedef struct pmgo_counts {
    uint64_t commit;
    uint64_t in_both;
    uint64_t newer;
} pmgo_counts;

/*
 * Compares. The pool's ids are NULL if they are not known. The names of the snapshots are in one
 * block, name_count of them with these lengths; name_count is -1 if they are not known. Without
 * in_use, commit is not used.
 * Then reply->count differences have texts of reply->size bytes together.
 */
int32_t pmgo_reconcile(uintptr_t store, const uint32_t *ids, size_t count, const char *names,
                       const size_t *name_lens, int64_t name_count, uint64_t commit,
                       int32_t in_use, pmgo_counts *counts, pmgo_reply *reply);
/* Copies the differences and their texts, and frees the reconciliation. */
void pmgo_differences_take(uintptr_t found, pmgo_difference *differences, char *texts);

/* Applies differences, whose names are in one block. Sets reply->count to how many it applied. */
int32_t pmgo_apply_reconciliation(uintptr_t store, const pmgo_difference *differences,
                                  size_t count, const char *names, pmgo_reply *reply);

#endif
