/* Stores, and files, in a directory that each test has for itself. */
#ifndef PM_TEST_FILES_H
#define PM_TEST_FILES_H

#include "check.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A path in the test's own directory, which is empty when the test begins and is removed, with all
 * paths, when it ends. For the main thread.
 */
const char *place(const char *file_name);
/* The whole file; the caller passes it to free(). */
unsigned char *read_file(const char *path, size_t *len);
void write_file(const char *path, const void *bytes, size_t len);
/* Fails unless the file still holds these bytes. */
void check_file(const char *path, const void *bytes, size_t len);
/* Runs the crafting helper (examples/craft_store.rs) on a file that no process has open. */
void craft(const char *what, const char *path, const char *argument);
/* Flips one bit of every place in the file where these bytes are; fails if there is none. */
void damage(const char *path, const char *bytes);

/* A store with a lock wait of `lock_wait_ms`, or of 10 s for 0. */
pm_store *open_with(const char *path, unsigned lock_wait_ms);
pm_store *open_new(const char *file_name);
void close_store(pm_store *store);
/* What must hold after every write. */
void check_store(pm_store *store);

/* A device with that name, and all else empty. */
pm_device device_named(const char *name);
/* Adds a small device, activated; its id. */
uint32_t add(pm_store *store, const char *name);
/* pm_apply with one change. */
int32_t apply_one(pm_store *store, int32_t kind, pm_device *device, pm_error *error);
uint64_t device_count(pm_store *store);
int32_t state_of(pm_store *store, const char *name);

/* For the runner: makes and removes the current test's directory. */
void make_place(void);
void remove_place(void);

#ifdef __cplusplus
}
#endif
#endif
