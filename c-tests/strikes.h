/* Makes one call after another fail, in work that makes many of them; see strikes.c. */
#ifndef PM_TEST_STRIKES_H
#define PM_TEST_STRIKES_H

#include "check.h"
#include "faults.h"

#ifdef __cplusplus
extern "C" {
#endif

#define FOR_EVER 1000000u

struct fault {
    enum fault_kind kind;
    int error;
};

/*
 * Does the work while `count` calls from the k-th on fail, and checks the result. Adds to `refused`
 * how many of its operations failed. Returns 0 if no call was left to fail.
 */
typedef int strike_work(const struct fault *fault, unsigned k, unsigned count, unsigned *refused);

/*
 * Strikes at every call, for `count` calls each time, and returns how many operations failed. Fails
 * unless there are `fewest` calls.
 */
unsigned strike_for(strike_work *work, unsigned count, enum fault_kind kind, int error,
                    unsigned fewest);
/* Strikes at every call, once alone and once with all that follow. Some operation must fail. */
void strike(strike_work *work, enum fault_kind kind, int error, unsigned fewest);
/* Fails unless the error has the system's number, and names a file below `below`. */
void check_told(const pm_error *error, int32_t status, const struct fault *fault,
                const char *below);

#ifdef __cplusplus
}
#endif
#endif
