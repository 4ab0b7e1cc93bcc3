/*
 * A program with an LMDB of its own, and with names that Rust's run time uses as well. Linked with
 * the archive, each side must get its own: if the archive had these global names, this would not
 * link, or the library would call these functions.
 */
#include <pool_metadata.h>
#include <stdio.h>
#include <stdlib.h>

static int calls;

#define OWN(name) \
    int name(void); \
    int name(void) { return ++calls; }

OWN(mdb_env_create)
OWN(mdb_env_open)
OWN(mdb_env_close)
OWN(mdb_txn_begin)
OWN(mdb_get)
OWN(mdb_put)
OWN(mdb_midl_alloc)
OWN(rust_eh_personality)
OWN(rust_begin_unwind)
OWN(__rust_alloc)

static int32_t no_change(pm_device *device, void *user_data) {
    (void)device;
    (void)user_data;
    return 0;
}

int main(int argc, char **argv) {
    pm_error err = PM_ERROR_INIT;
    pm_device device = PM_DEVICE_INIT;
    pm_store *store = NULL;

    if (argc != 2) {
        return 2;
    }
    device.name = "own";
    device.name_len = 3;
    if (pm_open(PM_CSTR(argv[1]), NULL, &store, &err) != PM_OK
        || pm_add_device(store, &device, &err) != PM_OK
        || pm_update_device(store, PM_LIT("own"), no_change, NULL, &err) != PM_OK
        || pm_close(store, &err) != PM_OK) {
        fprintf(stderr, "own_lmdb: %s\n", err.message);
        return 1;
    }
    if (calls != 0 || mdb_env_open() != 1 || mdb_get() != 2) {
        fprintf(stderr, "own_lmdb: the library called this program's functions %d times\n", calls);
        return 1;
    }
    return 0;
}
