/* One call after the other that fails, through work that makes many of them; see strikes.c. */
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
 * Does the work with `count` calls from the k-th on failing, and checks what came of it; 0 if no call was left to fail.
 * Adds to `refused` how many of its operations failed.
 */
typedef int strike_work(const struct fault *fault, unsigned k, unsigned count, unsigned *refused);

/* Strikes at every call, for `count` calls each time; there must be `fewest`. How many operations failed. */
unsigned strike_for(strike_work *work, unsigned count, enum fault_kind kind, int error, unsigned fewest);
/* Strikes at every call, once alone and once with all that follow. Some operation must have failed. */
void strike(strike_work *work, enum fault_kind kind, int error, unsigned fewest);
/*
 * Fails unless the error says what failed: with the system's own word for it, and which file it was, one whose path
 * begins so.
 */
void check_told(const pm_error *error, int32_t status, const struct fault *fault, const char *below);

#ifdef __cplusplus
}
#endif
#endif
