/* A full disk, a disk that fails, and no address space, at every call where they can strike; see faults.c. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "faults.h"

#define FOR_EVER 1000000u

static pm_store *store;
static const char *path;

/* An error text that makes the file longer. */
static char text[100 << 10];

static void open_pool(void) {
    path = place("pool.db");
    store = open_with(path, 0);
    add(store, "base");
}

static void reopen(void) {
    OK(pm_close(store, why()));
    store = open_with(path, 0);
}

static int32_t add_large(const char *name) {
    pm_device device = device_named(name);
    int32_t status;
    device.error = text;
    device.error_len = sizeof text;
    memset(text, 'e', sizeof text);
    status = pm_add_device(store, &device, NULL);
    CHECK((device.device_id != 0) == (status == PM_OK));
    return status;
}

/* Fails unless the store is as it was before the call that was refused. */
static void check_unchanged(const pm_stats *before) {
    pm_stats now = PM_STATS_INIT;
    check_store(store);
    OK(pm_get_stats(store, &now, why()));
    CHECK(now.devices == before->devices && now.last_id == before->last_id && now.commits == before->commits);
    CHECK_INT(PM_STATE_ACTIVATED, state_of(store, "base"));
}

/* Lets every call after the k-th fail, for each k until nothing fails any more. */
static void strike_everywhere(enum fault_kind kind, int error, int32_t code) {
    unsigned k;
    unsigned struck = 0;
    for (k = 0;; k++) {
        pm_stats before = PM_STATS_INIT;
        char name[32];
        int32_t status;
        unsigned failed;
        snprintf(name, sizeof name, "device-%d-%u", error, k);
        OK(pm_get_stats(store, &before, why()));
        fault_after(kind, k, FOR_EVER, error);
        status = add_large(name);
        failed = fault_end(kind);
        if (status == PM_OK) {
            /* Room ahead is not needed now: it may fail. Every other failure must show. */
            check_store(store);
            if (failed == 0) {
                break;
            }
            OK(pm_remove_device(store, PM_CSTR(name), why()));
            continue;
        }
        CHECK_INT(code, status);
        CHECK(failed > 0);
        struck++;
        check_unchanged(&before);
        /* With room on the disk again, a write succeeds; or the store says that it has to be opened anew. */
        status = pm_change_device_state(store, PM_LIT("base"), PM_STATE_ACTIVATED, NULL);
        CHECK(status == PM_OK || status == PM_ERR_WRITES_STOPPED);
        CHECK(status == PM_OK || code != PM_ERR_DISK_FULL || k > 0);
        reopen();
        OK(pm_change_device_state(store, PM_LIT("base"), PM_STATE_ACTIVATED, why()));
        check_store(store);
    }
    CHECK(struck > 0);
}

static void a_full_disk_changes_nothing(void) {
    open_pool();
    strike_everywhere(FAULT_WRITE, ENOSPC, PM_ERR_DISK_FULL);
    close_store(store);
}

static void a_full_quota_changes_nothing(void) {
    open_pool();
    strike_everywhere(FAULT_WRITE, EDQUOT, PM_ERR_DISK_FULL);
    close_store(store);
}

static void a_failed_write_changes_nothing(void) {
    open_pool();
    strike_everywhere(FAULT_WRITE, EIO, PM_ERR_IO);
    close_store(store);
}

static void a_failed_flush_changes_nothing(void) {
    open_pool();
    strike_everywhere(FAULT_SYNC, EIO, PM_ERR_IO);
    close_store(store);
}

static void a_full_disk_says_what_to_do_and_the_store_goes_on(void) {
    pm_device device = device_named("new");
    open_pool();
    device.error = text;
    device.error_len = sizeof text;
    fault_after(FAULT_WRITE, 0, FOR_EVER, ENOSPC);
    FAILS(PM_ERR_DISK_FULL, pm_add_device(store, &device, why()));
    CHECK_INT(ENOSPC, told()->os_error);
    CHECK(strstr(told()->message, path) != NULL && strstr(told()->message, "free some space") != NULL);
    CHECK_INT(0, device.device_id);
    FAILS(PM_ERR_DISK_FULL, pm_mark_faulty(store, PM_LIT("base"), why()));
    FAILS(PM_ERR_DISK_FULL, apply_one(store, PM_CHANGE_ADD, &device, why()));
    CHECK_INT(0, device.device_id);
    CHECK(fault_end(FAULT_WRITE) >= 2);
    CHECK_INT(PM_STATE_ACTIVATED, state_of(store, "base"));
    OK(pm_add_device(store, &device, why()));
    CHECK_INT(2, device.device_id);
    close_store(store);
}

static int32_t never(pm_device *device, void *unused) {
    (void)device;
    (void)unused;
    CHECK(!"a callback though nothing can be written");
    return 0;
}

static void after_a_failed_flush_writes_stop_and_reads_go_on(void) {
    pm_update *open_update = NULL;
    pm_update *update = UNTOUCHED;
    pm_device *record = NULL;
    pm_device *other = UNTOUCHED;
    pm_device device = device_named("new");
    pm_ids ids = PM_IDS_INIT;
    pm_names *names = NULL;
    open_pool();
    add(store, "snap");
    OK(pm_update_begin(store, PM_LIT("snap"), &open_update, &record, why()));
    record->state = PM_STATE_SUSPENDED;
    fault_after(FAULT_SYNC, 0, 1, EIO);
    FAILS(PM_ERR_IO, pm_remove_device(store, PM_LIT("base"), why()));
    CHECK_INT(EIO, told()->os_error);
    CHECK(strstr(told()->message, path) != NULL);
    CHECK_INT(1, fault_end(FAULT_SYNC));
    FAILS(PM_ERR_WRITES_STOPPED, pm_add_device(store, &device, why()));
    CHECK(strstr(told()->message, "opened again") != NULL);
    FAILS(PM_ERR_WRITES_STOPPED, pm_change_device_state(store, PM_LIT("base"), 1, why()));
    FAILS(PM_ERR_WRITES_STOPPED, pm_mark_faulty(store, PM_LIT("base"), why()));
    FAILS(PM_ERR_WRITES_STOPPED, pm_remove_device(store, PM_LIT("base"), why()));
    FAILS(PM_ERR_WRITES_STOPPED, pm_update_device(store, PM_LIT("base"), never, NULL, why()));
    FAILS(PM_ERR_WRITES_STOPPED, pm_update_begin(store, PM_LIT("base"), &update, &other, why()));
    FAILS(PM_ERR_WRITES_STOPPED, pm_update_commit(open_update, why()));
    FAILS(PM_ERR_WRITES_STOPPED, pm_import(store, NULL, 0, &ids, why()));
    FAILS(PM_ERR_WRITES_STOPPED, apply_one(store, PM_CHANGE_ADD, &device, why()));
    FAILS(PM_ERR_WRITES_STOPPED, pm_sync(store, why()));
    CHECK(update == UNTOUCHED && other == UNTOUCHED && device.device_id == 0);
    CHECK_INT(PM_STATE_ACTIVATED, state_of(store, "base"));
    OK(pm_get_device_names(store, &names, why()));
    CHECK_INT(2, names->count);
    pm_free(names);
    check_store(store);
    reopen();
    CHECK_INT(PM_STATE_ACTIVATED, state_of(store, "base"));
    OK(pm_remove_device(store, PM_LIT("base"), why()));
    close_store(store);
}

static void a_relaxed_store_flushes_when_it_is_asked_to(void) {
    pm_options options = PM_OPTIONS_INIT;
    options.durability = PM_DURABILITY_RELAXED;
    path = place("pool.db");
    OK(pm_open(PM_CSTR(path), &options, &store, why()));
    add(store, "base");
    fault_after(FAULT_SYNC, 0, 1, EIO);
    FAILS(PM_ERR_IO, pm_sync(store, why()));
    CHECK_INT(1, fault_end(FAULT_SYNC));
    FAILS(PM_ERR_WRITES_STOPPED, pm_sync(store, why()));
    FAILS(PM_ERR_WRITES_STOPPED, pm_mark_faulty(store, PM_LIT("base"), why()));
    reopen();
    OK(pm_sync(store, why()));
    close_store(store);
}

/* A store that cannot be created leaves nothing behind. */
static void create_with_faults(enum fault_kind kind, int error, int32_t code) {
    unsigned k;
    path = place("created.db");
    for (k = 0;; k++) {
        unsigned failed;
        int32_t status;
        store = UNTOUCHED;
        fault_after(kind, k, FOR_EVER, error);
        status = pm_open(PM_CSTR(path), NULL, &store, NULL);
        failed = fault_end(kind);
        if (status == PM_OK) {
            CHECK_INT(0, failed);
            break;
        }
        CHECK_INT(code, status);
        CHECK(store == UNTOUCHED && failed > 0);
        CHECK(access(place("created.db.new"), F_OK) != 0);
        if (access(path, F_OK) == 0) {
            /* Only the flush of its directory failed: the store is whole. */
            CHECK(kind == FAULT_SYNC);
            close_store(open_with(path, 0));
            CHECK(unlink(path) == 0 && unlink(place("created.db-lock")) == 0);
        }
    }
    CHECK(k > 1);
    close_store(store);
    CHECK(unlink(path) == 0 && unlink(place("created.db-lock")) == 0);
}

static void a_store_is_created_whole_or_not_at_all(void) {
    create_with_faults(FAULT_WRITE, ENOSPC, PM_ERR_DISK_FULL);
    create_with_faults(FAULT_WRITE, EIO, PM_ERR_IO);
    create_with_faults(FAULT_SYNC, EIO, PM_ERR_IO);
}

static void no_address_space_to_open(void) {
    path = place("pool.db");
    close_store(open_with(path, 0));
    store = UNTOUCHED;
    fault_after(FAULT_SPACE, 0, FOR_EVER, ENOMEM);
    FAILS(PM_ERR_NO_MEMORY, pm_open(PM_CSTR(path), NULL, &store, why()));
    CHECK(strstr(told()->message, "address space") != NULL);
    CHECK(store == UNTOUCHED && fault_end(FAULT_SPACE) > 1);
    /* A little less than was asked for is no error: the map is smaller. */
    fault_after(FAULT_SPACE, 0, 2, ENOMEM);
    store = open_with(path, 0);
    CHECK_INT(2, fault_end(FAULT_SPACE));
    {
        pm_stats stats = PM_STATS_INIT;
        OK(pm_get_stats(store, &stats, why()));
        CHECK_INT(INT64_C(4) << 30, stats.map_size);
    }
    close_store(store);
}

static void a_map_that_cannot_grow(void) {
    pm_options options = PM_OPTIONS_INIT;
    pm_device device = device_named("one too many");
    pm_stats before = PM_STATS_INIT;
    unsigned i;
    int32_t status = PM_OK;
    path = place("pool.db");
    options.map_size = 1 << 20;
    OK(pm_open(PM_CSTR(path), &options, &store, why()));
    add(store, "base");
    fault_after(FAULT_SPACE, 0, FOR_EVER, ENOMEM);
    for (i = 0; status == PM_OK; i++) {
        char name[16];
        CHECK(i < 100);
        snprintf(name, sizeof name, "d%u", i);
        status = add_large(name);
    }
    CHECK_INT(PM_ERR_MAP_FULL, status);
    OK(pm_get_stats(store, &before, why()));
    CHECK(before.devices > 2);
    device.error = text;
    device.error_len = sizeof text;
    FAILS(PM_ERR_MAP_FULL, pm_add_device(store, &device, why()));
    CHECK(strstr(told()->message, "1048576") != NULL);
    CHECK_INT(0, device.device_id);
    check_unchanged(&before);
    /* Nothing is broken by it: with space there again, the map grows. */
    CHECK(fault_end(FAULT_SPACE) > 0);
    OK(pm_add_device(store, &device, why()));
    close_store(store);
}

/* Whether another process sees that this one has LMDB's lock on the file. */
static int is_locked(const char *file) {
    int status = 0;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        struct flock lock;
        int fd = open(file, O_RDWR | O_CLOEXEC);
        memset(&lock, 0, sizeof lock);
        lock.l_type = F_WRLCK;
        lock.l_whence = SEEK_SET;
        lock.l_len = 1; /* LMDB's; the store's own lie elsewhere */
        if (fd < 0 || fcntl(fd, F_GETLK, &lock) != 0) {
            _exit(2);
        }
        _exit(lock.l_type == F_UNLCK ? 1 : 0);
    }
    return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* LMDB has its locks on it, which would go with any other descriptor of it that is closed. */
static void a_lock_file_in_use_is_left_alone_though_it_cannot_be_looked_at(void) {
    pm_store *other = NULL;
    unsigned k = 0;
    open_pool();
    CHECK(rename(path, place("moved.db")) == 0);
    do {
        int32_t status;
        fault_after(FAULT_STAT, k++, 1, EIO);
        status = pm_open(PM_CSTR(path), NULL, &other, NULL);
        CHECK(status == PM_ERR_ALREADY_OPEN || status == PM_ERR_IO);
        CHECK(is_locked(place("pool.db-lock")));
    } while (fault_end(FAULT_STAT) > 0);
    CHECK(k > 2);
    close_store(store);
}

static const struct test tests[] = {
    NAMED(a_full_disk_changes_nothing),
    NAMED(a_full_quota_changes_nothing),
    NAMED(a_failed_write_changes_nothing),
    NAMED(a_failed_flush_changes_nothing),
    NAMED(a_full_disk_says_what_to_do_and_the_store_goes_on),
    NAMED(after_a_failed_flush_writes_stop_and_reads_go_on),
    NAMED(a_relaxed_store_flushes_when_it_is_asked_to),
    NAMED(a_store_is_created_whole_or_not_at_all),
    NAMED(no_address_space_to_open),
    NAMED(a_map_that_cannot_grow),
    NAMED(a_lock_file_in_use_is_left_alone_though_it_cannot_be_looked_at),
};
TEST_MAIN(tests)
