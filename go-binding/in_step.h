/*
 * The C functions that the Go package calls to keep a store in step with its pool. See native.h for
 * the conventions.
 */
#ifndef PMGO_IN_STEP_H
#define PMGO_IN_STEP_H

#include "native.h"

/*
 * A row of a list: an id with its state, an intent or a removal. Its name is in a block that all
 * rows share, one behind the other.
 */
typedef struct pmgo_row {
    uint64_t number;      /* of an intent */
    uint64_t commit;      /* of an intent or a removal */
    uint64_t transaction; /* of an intent */
    size_t name_len;
    uint32_t device_id;
    int32_t kind; /* PM_ID_* or PM_INTENT_* */
} pmgo_row;

/* List: reply->count rows, whose names take reply->size bytes together. */
int32_t pmgo_list_ids(uintptr_t store, uint32_t states, uint32_t first, uint32_t last,
                      pmgo_reply *reply);
int32_t pmgo_list_intents(uintptr_t store, pmgo_reply *reply);
/* Also sets reply->last_id to 1 if the list is complete. */
int32_t pmgo_walk_removals(uintptr_t walk, uint64_t since, uint64_t *commit, pmgo_reply *reply);
/* Copy the rows and names of such a list, and free it. */
void pmgo_ids_rows(uintptr_t list, pmgo_row *rows, char *names);
void pmgo_intents_rows(uintptr_t list, pmgo_row *rows, char *names);
void pmgo_removals_rows(uintptr_t list, pmgo_row *rows, char *names);

/* Opens a walk over the devices that a filter selects, without reading from it. */
int32_t pmgo_walk_filtered(uintptr_t store, uint32_t states, uint32_t first, uint32_t last,
                           uint64_t since, const char *parent, size_t parent_len,
                           int32_t any_parent, pmgo_reply *reply);

/* Sets reply->count to the number of the intent, and reply->size to its commit. */
int32_t pmgo_begin_intent(uintptr_t store, int32_t kind, uint32_t device_id, uint64_t transaction,
                          const char *name, size_t name_len, pmgo_reply *reply);
int32_t pmgo_finish_intent(uintptr_t store, uint64_t number, pmgo_reply *reply);

/* Opens a store that belongs to the pool with this identity. */
int32_t pmgo_open_identity(const char *path, size_t path_len, const pm_options *options,
                           const char *identity, size_t identity_len, pmgo_reply *reply);
/* reply->handle is 0 for none, else takes pmgo_identity_take, with reply->size bytes. */
int32_t pmgo_get_identity(uintptr_t store, pmgo_reply *reply);
void pmgo_identity_take(uintptr_t identity, char *to);
int32_t pmgo_set_identity(uintptr_t store, const char *identity, size_t len, pmgo_reply *reply);

#endif
