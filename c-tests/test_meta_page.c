/*
 * A commit whose last step fails: the write of the meta page, which LMDB does with a descriptor that flushes.
 * LMDB gives its environment up then; reads must go on all the same, and the store must open again.
 */
#include "test.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "faults.h"

static pm_store *store;
static const char *path;

static void open_pool(void) {
    path = place("pool.db");
    store = open_with(path, 200);
    add(store, "base");
    add(store, "snap");
}

/* Fails the k-th write of a small commit, the last of which is the meta page's; 0 when there is none to fail. */
static int fail_write(unsigned k) {
    pm_device device = device_named("new");
    int32_t status;
    fault_after(FAULT_WRITE, k, 1, EIO);
    status = pm_mark_faulty(store, PM_LIT("base"), NULL);
    if (fault_end(FAULT_WRITE) == 0) {
        CHECK_INT(PM_OK, status);
        return 0;
    }
    CHECK_INT(PM_ERR_IO, status);
    FAILS(PM_ERR_WRITES_STOPPED, pm_add_device(store, &device, why()));
    return 1;
}

static void check_reads(void) {
    pm_names *names = NULL;
    CHECK_INT(PM_STATE_ACTIVATED, state_of(store, "base"));
    OK(pm_get_device_names(store, &names, why()));
    CHECK_INT(2, names->count);
    pm_free(names);
    check_store(store);
}

static void reads_go_on_and_the_store_opens_again(void) {
    unsigned k;
    open_pool();
    for (k = 0; fail_write(k); k++) {
        check_reads();
        FAILS(PM_ERR_WRITES_STOPPED, pm_remove_device(store, PM_LIT("base"), why()));
        check_reads();
        close_store(store);
        store = open_with(path, 200);
        check_reads();
    }
    CHECK(k >= 2);
    CHECK_INT(PM_STATE_FAULTY, state_of(store, "base"));
    check_store(store);
    close_store(store);
}

/* The walk goes on where it was. Where LMDB's environment has to be opened anew, new reads wait for it. */
static void a_walk_that_is_open_goes_on(void) {
    uint64_t page[256];
    unsigned waited = 0;
    unsigned k = 0;
    open_pool();
    for (;; k++) {
        size_t count = 0;
        pm_walk *walk = NULL;
        pm_device *device = NULL;
        int32_t status;
        OK(pm_walk_open(store, &walk, why()));
        if (!fail_write(k)) {
            pm_walk_close(walk);
            break;
        }
        status = pm_get_device(store, PM_LIT("base"), &device, NULL);
        CHECK(status == PM_OK || status == PM_ERR_TIMEOUT);
        waited += status == PM_ERR_TIMEOUT;
        pm_free(device);
        OK(pm_walk_next(walk, page, sizeof page, &count, NULL, why()));
        CHECK_INT(2, count);
        pm_walk_close(walk);
        check_reads();
        close_store(store);
        store = open_with(path, 200);
    }
    CHECK(k >= 2);
    CHECK_INT(1, waited);
    close_store(store);
}

static const struct test tests[] = {
    NAMED(reads_go_on_and_the_store_opens_again),
    NAMED(a_walk_that_is_open_goes_on),
};
TEST_MAIN(tests)
