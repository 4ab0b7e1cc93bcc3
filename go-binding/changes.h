/* The one C function through which the Go package writes devices. See native.h. */
#ifndef PMGO_CHANGES_H
#define PMGO_CHANGES_H

#include "native.h"

/*
 * A change. Its texts are in a block that all changes of a call share, one behind the other; so are
 * its ids. An intent has its name and its device_id where a device has them.
 */
typedef struct pmgo_change {
    uint64_t size;       /* of an intent, the pool's transaction id */
    uint64_t generation; /* set on success */
    uint64_t number;     /* number of an intent, or how many ids were changed: set on success */
    size_t name_len;
    size_t parent_len;
    size_t text_len;
    size_t id_count;
    uintptr_t detail;   /* PMGO_EACH: a pm_error for pmgo_take_detail, or 0 */
    uint32_t device_id; /* set on success */
    int32_t state;      /* of an intent, its kind */
    int32_t kind;       /* PM_CHANGE_* */
    int32_t status;     /* PMGO_EACH: how the change ended */
} pmgo_change;

/* Which library function makes the changes of a call. */
enum {
    PMGO_EACH, /* pm_apply_each: the result is in each change, and the reply may be NULL */
    PMGO_WHOLE /* pm_apply: on failure reply->count is the refused change's position, or count */
};

int32_t pmgo_apply(uintptr_t store, int32_t how, pmgo_change *changes, size_t count,
                   const char *texts, const uint32_t *ids, pmgo_reply *reply);

#endif
