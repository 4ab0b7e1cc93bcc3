/* The work of a day on a store: creation, writes, growth, reopening; see days_work.c. */
#ifndef PM_TEST_DAYS_WORK_H
#define PM_TEST_DAYS_WORK_H

#include <stddef.h>

#include "check.h"

#ifdef __cplusplus
extern "C" {
#endif

enum verb { OPEN, ADD, TEXT, STATE, FAULTY, REMOVE, LIST, READ, CLOSE };

struct step {
    enum verb verb;
    const char *name;
    size_t text_len;
};

extern const struct step day[];
extern const size_t day_len;
/* The store that is open, by day_open or a step. */
extern pm_store *day_store;

/* Begins a day with an empty model, on a store at that path. */
void day_begin(const char *store_path);
int32_t day_open(pm_error *error);
int32_t day_take(const struct step *step, pm_error *error);
/* Notes in the model what a step that succeeded has changed. */
void day_note(const struct step *step);
/* Fails unless the store is sound and holds what the model does. */
void day_check(void);

#ifdef __cplusplus
}
#endif
#endif
