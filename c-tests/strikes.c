/* Makes one call after another fail, in work that makes many of them. */
#include "strikes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void check_told(const pm_error *error, int32_t status, const struct fault *fault,
                const char *below) {
    int plain = status == PM_ERR_IO || status == PM_ERR_DISK_FULL || status == PM_ERR_PERMISSION;
    CHECK(error->code == status);
    if (!plain && status != PM_ERR_NO_MEMORY && status != PM_ERR_MAP_FULL) {
        fail(__FILE__, __LINE__, "an error that says something else: %s: %s",
             pm_status_name(status), error->message);
    }
    if (plain) {
        CHECK(strstr(error->message, below) != NULL);
        /* A short write has no error number: LMDB reports it as one of these. */
        if (fault->error == FAULT_SHORT) {
            CHECK(error->os_error == EIO || error->os_error == ENOSPC);
        } else if (fault->kind == FAULT_LOCK && error->os_error == EINVAL) {
            /* LMDB assumed that another process has the lock, and found the lock file empty. */
            CHECK(strstr(error->message, "opening the store") != NULL);
        } else if (error->os_error != (fault->error & ~FAULT_DONE)) {
            fail(__FILE__, __LINE__, "error %d: %s", error->os_error, error->message);
        }
        CHECK(status != PM_ERR_DISK_FULL || error->os_error == ENOSPC || error->os_error == EDQUOT);
    }
}

/* The distance of two calls that are struck: 1, or more where each step takes long. */
static unsigned stride(void) {
    return getenv("PM_TEST_EVERY_CALL") != NULL ? 1 : getenv("PM_TEST_SLOW") != NULL ? 61 : 7;
}

unsigned strike_for(strike_work *work, unsigned count, enum fault_kind kind, int error,
                    unsigned fewest) {
    struct fault fault;
    unsigned refused = 0;
    unsigned runs = 0;
    unsigned k;
    fault.kind = kind;
    fault.error = error;
    for (k = 0; work(&fault, k, count, &refused); k += stride()) {
        runs++;
    }
    CHECK(k >= fewest);
    if (stride() == 1) {
        printf("   kind %d, error %d, %s: %u runs, %u operations failed\n", (int)kind, error,
               count == 1 ? "once" : "on", runs, refused);
    }
    return refused;
}

void strike(strike_work *work, enum fault_kind kind, int error, unsigned fewest) {
    unsigned refused = strike_for(work, 1, kind, error, fewest);
    CHECK(refused + strike_for(work, FOR_EVER, kind, error, fewest) > 0);
}
