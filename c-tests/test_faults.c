/* What calls say when system calls fail, and what only interposed calls can show; see faults.c. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
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
    CHECK(now.devices == before->devices && now.last_id == before->last_id);
    CHECK(now.commits == before->commits);
    CHECK_INT(PM_STATE_ACTIVATED, state_of(store, "base"));
}

static void full_disk_is_reported_and_the_store_goes_on(void) {
    pm_device device = device_named("new");
    open_pool();
    device.error = text;
    device.error_len = sizeof text;
    fault_after(FAULT_WRITE, 0, FOR_EVER, ENOSPC);
    FAILS(PM_ERR_DISK_FULL, pm_add_device(store, &device, why()));
    CHECK_INT(ENOSPC, told()->os_error);
    CHECK(strstr(told()->message, path) != NULL);
    CHECK(strstr(told()->message, "free some space") != NULL);
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

static void write_whose_flush_fails_is_undone_and_the_next_is_made(void) {
    pm_stats before = PM_STATS_INIT;
    pm_stats stats = PM_STATS_INIT;
    open_pool();
    OK(pm_get_stats(store, &before, why()));
    fault_after(FAULT_SYNC, 0, 1, EIO);
    FAILS(PM_ERR_IO, pm_remove_device(store, PM_LIT("base"), why()));
    CHECK_INT(EIO, told()->os_error);
    CHECK(strstr(told()->message, path) != NULL);
    CHECK_INT(1, fault_end(FAULT_SYNC));
    check_unchanged(&before);
    OK(pm_get_stats(store, &stats, why()));
    CHECK_INT(1, stats.undone_commits);
    OK(pm_remove_device(store, PM_LIT("base"), why()));
    check_store(store);
    OK(pm_sync(store, why()));
    close_store(store);
}

static void flushes_that_go_on_failing_stop_writes_and_no_reads(void) {
    pm_update *open_update = NULL;
    pm_update *update = UNTOUCHED;
    pm_device *record = NULL;
    pm_device *other = UNTOUCHED;
    pm_device device = device_named("new");
    pm_ids ids = PM_IDS_INIT;
    pm_names *names = NULL;
    unsigned i;
    open_pool();
    add(store, "snap");
    OK(pm_update_begin(store, PM_LIT("snap"), &open_update, &record, why()));
    record->state = PM_STATE_SUSPENDED;
    fault_after(FAULT_SYNC, 0, FOR_EVER, EIO);
    for (i = 0; i < 8; i++) {
        FAILS(PM_ERR_IO, pm_remove_device(store, PM_LIT("base"), why()));
    }
    CHECK(fault_end(FAULT_SYNC) >= 8);
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

static void open_without_address_space_is_refused(void) {
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

static void map_that_cannot_grow_is_full(void) {
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
static void lock_file_in_use_that_cannot_be_examined_is_left_alone(void) {
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

/* "K PATH": creates a store and dies at its K-th flush. */
static int die_in_a_flush(const char *argument) {
    unsigned k = 0;
    int at = 0;
    CHECK(sscanf(argument, "%u %n", &k, &at) == 1);
    fault_signal(FAULT_SYNC, k, SIGKILL);
    store = open_with(argument + at, 0);
    say("survived");
    close_store(store);
    return 0;
}

/* Starts a creator that dies at its k-th flush; 0 when it did not. */
static int creator_dies(unsigned k) {
    char argument[4096];
    char heard[32];
    struct peer peer;
    snprintf(argument, sizeof argument, "%u %s", k, path);
    peer = peer_start("die_in_a_flush", argument);
    if (peer_hear(&peer, heard, sizeof heard)) {
        peer_finish(&peer);
        return 0;
    }
    peer_kill(&peer);
    return 1;
}

/*
 * The name of a store without commits may not be on the disk yet: its creator may have died before
 * it flushed the directory. So opening such a store flushes that.
 */
static void open_of_a_store_without_commits_flushes_its_directory(void) {
    unsigned k;
    unsigned before;
    unsigned found = 0;
    path = place("pool.db");
    for (k = 0; creator_dies(k); k++) {
        if (access(path, F_OK) != 0) {
            continue;
        }
        /* The store has its name, and the creator died before the flush of the directory. */
        found++;
        before = directory_flushes();
        store = open_with(path, 0);
        CHECK(directory_flushes() > before);
        check_store(store);
        close_store(store);
        CHECK(unlink(path) == 0 && unlink(place("pool.db-lock")) == 0);
    }
    CHECK_INT(1, found);
    /* The last creator survived. Its store has no commits either, so it gets the same flush. */
    before = directory_flushes();
    store = open_with(path, 0);
    CHECK(directory_flushes() > before);
    add(store, "base");
    close_store(store);
    /* With a commit it is on the disk: the store was opened before that. */
    before = directory_flushes();
    store = open_with(path, 0);
    CHECK_INT(before, directory_flushes());
    close_store(store);
}

/* A program that another thread starts at that moment would inherit it. */
static void files_are_opened_close_on_exec(void) {
    unsigned before;
    int fd;
    path = place("pool.db");
    fault_below(place(""));
    before = opened_without_close_on_exec();
    store = open_with(path, 0);
    add(store, "base");
    OK(pm_backup(store, PM_CSTR(place("copy.db")), 0, why()));
    close_store(store);
    store = open_with(path, 0);
    close_store(store);
    CHECK_INT(before, opened_without_close_on_exec());
    /* Such an open is counted. */
    fd = open(path, O_RDONLY);
    CHECK(fd >= 0 && close(fd) == 0);
    CHECK_INT(before + 1, opened_without_close_on_exec());
    fault_below("");
}

static const struct test tests[] = {
    NAMED(full_disk_is_reported_and_the_store_goes_on),
    NAMED(write_whose_flush_fails_is_undone_and_the_next_is_made),
    NAMED(flushes_that_go_on_failing_stop_writes_and_no_reads),
    NAMED(open_without_address_space_is_refused),
    NAMED(map_that_cannot_grow_is_full),
    NAMED(lock_file_in_use_that_cannot_be_examined_is_left_alone),
    NAMED(open_of_a_store_without_commits_flushes_its_directory),
    NAMED(files_are_opened_close_on_exec),
};
static const struct role roles[] = {NAMED(die_in_a_flush)};
TEST_MAIN_WITH_ROLES(tests, roles)
