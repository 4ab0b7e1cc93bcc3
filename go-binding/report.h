/* What a failed call has to report. See native.h for the conventions. */
#ifndef PMGO_REPORT_H
#define PMGO_REPORT_H

#include "native.h"

#include <stdlib.h>

/* Room for what a call has to report; the library does without where there is none. */
static inline pm_error *make_error(void)
{
    pm_error *error = calloc(1, sizeof *error);

    if (error != NULL) {
        error->struct_size = sizeof *error;
    }
    return error;
}

/* Hands the report of a failed call to Go. */
static inline int32_t end(int32_t status, pm_error *error, pmgo_reply *reply)
{
    if (status == PM_OK) {
        free(error);
    } else {
        reply->detail = (uintptr_t)error;
    }
    return status;
}

#endif
