/* How the C functions of the Go package report failures; native.h has the convention. */
#ifndef PMGO_REPORT_H
#define PMGO_REPORT_H

#include "native.h"

#include <stdlib.h>

/*
 * Prepares a pm_error on the stack for a call. Only the size is set: clearing the whole struct
 * would cost every call a kilobyte.
 */
static inline void begin(pm_error *error)
{
    error->struct_size = sizeof *error;
}

/*
 * Copies the report of a failed call to memory that pmgo_take_detail frees, so that only failures
 * pay for it. Returns 0 if the call succeeded, if there is no memory, and for a status that needs
 * no message.
 */
static inline uintptr_t keep(int32_t status, const pm_error *error)
{
    pm_error *kept;

    if (status == PM_OK || status == PM_ERR_NOT_FOUND || status == PM_ERR_BUFFER_TOO_SMALL
        || status == PM_ERR_STRUCT_SIZE) {
        return 0;
    }
    kept = malloc(sizeof *kept);
    if (kept != NULL) {
        *kept = *error;
    }
    return (uintptr_t)kept;
}

/* Ends a call: puts its report into the reply and returns its status. */
static inline int32_t end(int32_t status, const pm_error *error, pmgo_reply *reply)
{
    reply->detail = keep(status, error);
    return status;
}

#endif
