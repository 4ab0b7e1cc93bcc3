/*
 * A process that is stopped or dies in the middle of a write: this program, started again in a
 * role. What processes mean to each other is in tests/meaning/processes.rs.
 */
#include "test.h"

#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "faults.h"

static pm_store *store;

/* Roles. */

static int add_many(const char *path) {
    unsigned count = scaled(200);
    unsigned i;
    store = open_with(path, 0);
    say("open");
    CHECK(listen_for("go"));
    for (i = 0; i < count; i++) {
        char name[32];
        snprintf(name, sizeof name, "child-%u", i);
        add(store, name);
        CHECK_INT(PM_STATE_ACTIVATED, state_of(store, name));
        if (i % 2 == 0) {
            OK(pm_remove_device(store, PM_CSTR(name), why()));
        }
    }
    close_store(store);
    return 0;
}

static int stop_in_a_write(const char *path) {
    store = open_with(path, 0);
    fault_signal(FAULT_SYNC, 0, SIGSTOP);
    say("writing");
    add(store, "slow");
    CHECK_INT(1, fault_end(FAULT_SYNC));
    close_store(store);
    return 0;
}

/* "PID PATH": has LMDB's lock for that process id. */
static int lock_an_id(const char *argument) {
    struct flock lock;
    int pid = 0, at = 0, file;
    CHECK(sscanf(argument, "%d %n", &pid, &at) == 1);
    file = open(argument + at, O_RDWR);
    memset(&lock, 0, sizeof lock);
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = pid;
    lock.l_len = 1;
    CHECK(file >= 0 && fcntl(file, F_SETLK, &lock) == 0);
    say("locked");
    (void)listen_for("end");
    CHECK(close(file) == 0);
    return 0;
}

/* Opens and closes the lock file, as code does that knows nothing of LMDB. */
static int lose_the_locks(const char *path) {
    char lock[4200];
    int file;
    store = open_with(path, 0);
    snprintf(lock, sizeof lock, "%s-lock", path);
    file = open(lock, O_RDONLY);
    CHECK(file >= 0 && close(file) == 0);
    say("lost");
    (void)listen_for("end");
    close_store(store);
    return 0;
}

/* "K PATH": dies at its K-th write to the file, or flush, while it opens or adds. */
static int die_in_a_write(const char *argument) {
    unsigned k = 0;
    char kind = 0;
    int at = 0;
    CHECK(sscanf(argument, "%c%u %n", &kind, &k, &at) == 2);
    fault_signal(kind == 'w' ? FAULT_WRITE : FAULT_SYNC, k, SIGKILL);
    store = open_with(argument + at, 0);
    add(store, "added");
    say("survived");
    return 0;
}

/* Tests. */

static void open_pool(unsigned lock_wait_ms) {
    store = open_with(place("pool.db"), lock_wait_ms);
    add(store, "base");
}

static struct peer start(const char *role) {
    struct peer peer = peer_start(role, place("pool.db"));
    peer_expect(&peer, "open");
    return peer;
}

static void two_processes_write_at_once(void) {
    unsigned count = scaled(200);
    struct peer peer;
    unsigned i;
    open_pool(0);
    peer = start("add_many");
    peer_tell(&peer, "go");
    for (i = 0; i < count; i++) {
        char name[32];
        snprintf(name, sizeof name, "parent-%u", i);
        add(store, name);
        OK(pm_mark_faulty(store, PM_CSTR(name), why()));
    }
    peer_finish(&peer);
    CHECK_INT(1 + count + count / 2, device_count(store));
    close_store(store);
}

/* Killed at every single write and flush of creating a store and adding to it. */
static void process_that_dies_in_any_write_leaves_no_store_or_a_whole_one(void) {
    const char *kind;
    for (kind = "ws"; *kind != '\0'; kind++) {
        unsigned k;
        int died = 1;
        for (k = 0; died; k++) {
            char argument[4200];
            char line[64];
            struct peer peer;
            uint64_t count;
            snprintf(argument, sizeof argument, "%c%u %s", *kind, k, place("pool.db"));
            peer = peer_start("die_in_a_write", argument);
            died = !peer_hear(&peer, line, sizeof line);
            if (died) {
                peer_kill(&peer);
            } else {
                peer_finish(&peer);
            }
            store = open_with(place("pool.db"), 0);
            count = device_count(store);
            CHECK(count <= 1 && (died || count == 1));
            if (count == 0) {
                CHECK_INT(1, add(store, "added"));
            }
            close_store(store);
            CHECK(access(place("pool.db.new"), F_OK) != 0);
            CHECK(unlink(place("pool.db")) == 0 && unlink(place("pool.db-lock")) == 0);
        }
        CHECK(k > 3);
    }
}

static void stopped_writer_delays_others_by_the_lock_wait_at_most(void) {
    struct peer peer;
    int status = 0;
    double start_time;
    open_pool(200);
    peer = peer_start("stop_in_a_write", place("pool.db"));
    peer_expect(&peer, "writing");
    CHECK(waitpid(peer.pid, &status, WUNTRACED) == peer.pid);
    CHECK(WIFSTOPPED(status));
    start_time = seconds();
    FAILS(PM_ERR_TIMEOUT, pm_mark_faulty(store, PM_LIT("base"), why()));
    CHECK(seconds() - start_time >= 0.15 && seconds() - start_time < 5);
    CHECK(strstr(told()->message, "another process") != NULL);
    /* Readers are not held up, and may see what that writer has not flushed yet. */
    CHECK_INT(PM_STATE_ACTIVATED, state_of(store, "base"));
    CHECK_INT(2, device_count(store));
    CHECK(kill(peer.pid, SIGCONT) == 0);
    peer_finish(&peer);
    OK(pm_mark_faulty(store, PM_LIT("base"), why()));
    CHECK_INT(2, device_count(store));
    close_store(store);
}

/* A writer that dies in its flush: the next one goes on at once, and flushes that commit. */
static void stopped_writer_that_is_killed_leaves_no_lock(void) {
    struct peer peer;
    int status = 0;
    open_pool(0);
    peer = peer_start("stop_in_a_write", place("pool.db"));
    peer_expect(&peer, "writing");
    CHECK(waitpid(peer.pid, &status, WUNTRACED) == peer.pid);
    peer_kill(&peer);
    OK(pm_mark_faulty(store, PM_LIT("base"), why()));
    CHECK_INT(2, device_count(store));
    check_store(store);
    close_store(store);
}

static void refused(int32_t code, const char *word) {
    pm_options options = PM_OPTIONS_INIT;
    pm_store *none = UNTOUCHED;
    options.lock_wait_ms = 200;
    FAILS(code, pm_open(PM_CSTR(place("pool.db")), &options, &none, why()));
    CHECK(none == UNTOUCHED && strstr(told()->message, word) != NULL);
}

static void process_of_an_id_that_is_in_use_is_refused(void) {
    char argument[4200];
    struct peer peer;
    open_pool(0);
    close_store(store);
    snprintf(argument, sizeof argument, "%d %s", (int)getpid(), place("pool.db-lock"));
    peer = peer_start("lock_an_id", argument);
    peer_expect(&peer, "locked");
    refused(PM_ERR_PID_IN_USE, "another PID namespace");
    peer_finish(&peer);
    close_store(open_with(place("pool.db"), 0));
}

static void store_of_a_process_that_has_lost_its_locks_is_refused(void) {
    char pid[32];
    struct peer peer = peer_start("lose_the_locks", place("pool.db"));
    peer_expect(&peer, "lost");
    snprintf(pid, sizeof pid, "process %d ", (int)peer.pid);
    refused(PM_ERR_LOCKS_LOST, pid);
    peer_finish(&peer);
    close_store(open_with(place("pool.db"), 0));
}

static const struct test tests[] = {
    NAMED(two_processes_write_at_once),
    NAMED(process_that_dies_in_any_write_leaves_no_store_or_a_whole_one),
    NAMED(stopped_writer_delays_others_by_the_lock_wait_at_most),
    NAMED(stopped_writer_that_is_killed_leaves_no_lock),
    NAMED(process_of_an_id_that_is_in_use_is_refused),
    NAMED(store_of_a_process_that_has_lost_its_locks_is_refused),
};
static const struct role roles[] = {
    NAMED(add_many),
    NAMED(stop_in_a_write),
    NAMED(die_in_a_write),
    NAMED(lock_an_id),
    NAMED(lose_the_locks),
};
TEST_MAIN_WITH_ROLES(tests, roles)
