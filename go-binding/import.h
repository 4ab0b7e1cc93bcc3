/*
 * The C functions that the Go package calls to import a whole pool, and to read all of one. See
 * native.h for the conventions.
 */
#ifndef PMGO_IMPORT_H
#define PMGO_IMPORT_H

#include "native.h"

int32_t pmgo_import(uintptr_t store, const uint64_t *records, size_t size, uint32_t last_id,
                    const uint32_t *free_ids, size_t free_count, const uint32_t *faulty_ids,
                    size_t faulty_count, pmgo_reply *reply);

/* The state of the ids: reply->count free ones, reply->size faulty ones, and reply->last_id. */
int32_t pmgo_walk_ids(uintptr_t walk, pmgo_reply *reply);
/* Copies the lists of reply->ids and frees them. */
void pmgo_ids_take(uintptr_t ids, uint32_t *free_ids, uint32_t *faulty_ids);

/* Opens a walk without reading from it. */
int32_t pmgo_walk_begin(uintptr_t store, pmgo_reply *reply);

#endif
