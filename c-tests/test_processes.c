/* Several processes with one store: this program, started again in a role. */
#include "test.h"

#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "faults.h"

static pm_store *store;

/* Roles. Each opens the store at `path`, says so, and does its part when it is told to. */

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

static int32_t add_one(pm_device *device, void *unused) {
    (void)unused;
    device->size++;
    return 0;
}

/* One more, in competition with another process: whoever comes too late tries again. */
static void count_one(void) {
    int32_t status;
    do {
        status = pm_update_device(store, PM_LIT("counter"), add_one, NULL, NULL);
        CHECK(status == PM_OK || status == PM_ERR_CONFLICT);
    } while (status != PM_OK);
}

static int count_up(const char *path) {
    unsigned count = scaled(300);
    store = open_with(path, 0);
    say("open");
    CHECK(listen_for("go"));
    while (count-- > 0) {
        count_one();
    }
    close_store(store);
    return 0;
}

static int change_remove_add(const char *path) {
    store = open_with(path, 0);
    say("open");
    CHECK(listen_for("change"));
    OK(pm_change_device_state(store, PM_LIT("base"), PM_STATE_CREATED, why()));
    say("changed");
    CHECK(listen_for("remove"));
    OK(pm_remove_device(store, PM_LIT("base"), why()));
    say("removed");
    CHECK(listen_for("add"));
    add(store, "base");
    say("added");
    CHECK(listen_for("again"));
    OK(pm_remove_device(store, PM_LIT("base"), why()));
    add(store, "base");
    say("added");
    CHECK(!listen_for("nothing more"));
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

static int read_and_wait(const char *path) {
    pm_walk *walk = NULL;
    store = open_with(path, 0);
    OK(pm_walk_open(store, &walk, why()));
    say("reading");
    while (listen_for("go on")) {
    }
    pm_walk_close(walk);
    close_store(store);
    return 0;
}

static int only_look(const char *path) {
    pm_options options = PM_OPTIONS_INIT;
    options.flags = PM_OPEN_READ_ONLY;
    OK(pm_open(PM_CSTR(path), &options, &store, why()));
    say("open");
    while (listen_for("count")) {
        char line[32];
        snprintf(line, sizeof line, "%u", (unsigned)device_count(store));
        say(line);
    }
    FAILS(PM_ERR_READ_ONLY, pm_mark_faulty(store, PM_LIT("base"), why()));
    close_store(store);
    return 0;
}

static int fill(const char *path) {
    static char text[100 << 10];
    unsigned i;
    store = open_with(path, 0);
    for (i = 0; i < 40; i++) {
        char name[32];
        pm_device device;
        snprintf(name, sizeof name, "big-%u", i);
        device = device_named(name);
        device.error = text;
        device.error_len = sizeof text;
        OK(pm_add_device(store, &device, why()));
    }
    close_store(store);
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

static void no_update_is_lost(void) {
    pm_device device = device_named("counter");
    pm_device *found = NULL;
    unsigned count = scaled(300);
    unsigned i;
    struct peer peer;
    open_pool(0);
    OK(pm_add_device(store, &device, why()));
    peer = start("count_up");
    peer_tell(&peer, "go");
    for (i = 0; i < count; i++) {
        count_one();
    }
    peer_finish(&peer);
    OK(pm_get_device(store, PM_LIT("counter"), &found, why()));
    CHECK_INT(2 * count, found->size);
    pm_free(found);
    close_store(store);
}

static struct peer *told_peer;

static int32_t let_the_peer_change_it(pm_device *device, void *unused) {
    (void)unused;
    device->size = 1;
    peer_tell(told_peer, "change");
    peer_expect(told_peer, "changed");
    return 0;
}

static void what_another_process_changed_meanwhile_is_a_conflict(void) {
    struct peer peer;
    pm_update *update = NULL;
    pm_device *device = NULL;
    open_pool(0);
    peer = start("change_remove_add");
    told_peer = &peer;
    FAILS(PM_ERR_CONFLICT,
          pm_update_device(store, PM_LIT("base"), let_the_peer_change_it, NULL, why()));
    CHECK(strstr(told()->message, "\"base\"") != NULL);
    CHECK_INT(PM_STATE_CREATED, state_of(store, "base"));
    OK(pm_update_begin(store, PM_LIT("base"), &update, &device, why()));
    CHECK(device->size == 4096);
    peer_tell(&peer, "remove");
    peer_expect(&peer, "removed");
    FAILS(PM_ERR_NOT_FOUND, pm_update_commit(update, why()));
    peer_tell(&peer, "add");
    peer_expect(&peer, "added");
    OK(pm_update_begin(store, PM_LIT("base"), &update, &device, why()));
    /* The same name with the same id, but another device. */
    peer_tell(&peer, "again");
    peer_expect(&peer, "added");
    FAILS(PM_ERR_CONFLICT, pm_update_commit(update, why()));
    OK(pm_mark_faulty(store, PM_LIT("base"), why()));
    peer_finish(&peer);
    close_store(store);
}

/* Killed at every single write and flush of creating a store and adding to it. */
static void a_process_dies_in_the_middle_of_a_write(void) {
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

static void a_stopped_writer_holds_nobody_up_for_longer_than_the_wait(void) {
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
    /* Readers are not held up. */
    CHECK_INT(PM_STATE_ACTIVATED, state_of(store, "base"));
    CHECK_INT(1, device_count(store));
    CHECK(kill(peer.pid, SIGCONT) == 0);
    peer_finish(&peer);
    OK(pm_mark_faulty(store, PM_LIT("base"), why()));
    CHECK_INT(2, device_count(store));
    close_store(store);
}

/* A writer that dies where it was stopped: the next one goes on at once. */
static void a_stopped_writer_that_is_killed_leaves_no_lock(void) {
    struct peer peer;
    int status = 0;
    open_pool(0);
    peer = peer_start("stop_in_a_write", place("pool.db"));
    peer_expect(&peer, "writing");
    CHECK(waitpid(peer.pid, &status, WUNTRACED) == peer.pid);
    peer_kill(&peer);
    OK(pm_mark_faulty(store, PM_LIT("base"), why()));
    CHECK_INT(1, device_count(store));
    close_store(store);
}

static void dead_readers_give_their_places_back(void) {
    pm_options options = PM_OPTIONS_INIT;
    pm_walk *walks[127];
    size_t i;
    struct peer peer;
    options.max_readers = 128;
    OK(pm_open(PM_CSTR(place("pool.db")), &options, &store, why()));
    peer = peer_start("read_and_wait", place("pool.db"));
    peer_expect(&peer, "reading");
    peer_kill(&peer);
    for (i = 0; i < COUNT(walks); i++) {
        OK(pm_walk_open(store, &walks[i], why()));
    }
    for (i = 0; i < COUNT(walks); i++) {
        pm_walk_close(walks[i]);
    }
    close_store(store);
}

static void a_daemon_writes_and_another_looks_on(void) {
    struct peer peer;
    open_pool(0);
    peer = start("only_look");
    peer_tell(&peer, "count");
    peer_expect(&peer, "1");
    add(store, "snap");
    peer_tell(&peer, "count");
    peer_expect(&peer, "2");
    peer_finish(&peer);
    close_store(store);
}

static void a_map_that_another_process_made_larger(void) {
    pm_options options = PM_OPTIONS_INIT;
    struct peer peer;
    options.map_size = 1 << 20;
    OK(pm_open(PM_CSTR(place("pool.db")), &options, &store, why()));
    add(store, "base");
    peer = peer_start("fill", place("pool.db"));
    peer_finish(&peer);
    CHECK_INT(PM_STATE_UNKNOWN, state_of(store, "big-39"));
    CHECK_INT(41, device_count(store));
    add(store, "snap");
    close_store(store);
}

/* Through a hard link LMDB would keep its locks in another file, so both could write at once. */
static void a_hard_link_that_another_process_has_open(void) {
    pm_store *second = UNTOUCHED;
    struct peer peer;
    open_pool(0);
    close_store(store);
    CHECK(link(place("pool.db"), place("hard.db")) == 0);
    peer = start("only_look");
    FAILS(PM_ERR_ALREADY_OPEN, pm_open(PM_CSTR(place("hard.db")), NULL, &second, why()));
    CHECK(strstr(told()->message, "-lock") != NULL);
    CHECK(second == UNTOUCHED);
    peer_finish(&peer);
    close_store(open_with(place("hard.db"), 0));
}

static const struct test tests[] = {
    NAMED(two_processes_write_at_once),
    NAMED(no_update_is_lost),
    NAMED(what_another_process_changed_meanwhile_is_a_conflict),
    NAMED(a_process_dies_in_the_middle_of_a_write),
    NAMED(a_stopped_writer_holds_nobody_up_for_longer_than_the_wait),
    NAMED(a_stopped_writer_that_is_killed_leaves_no_lock),
    NAMED(dead_readers_give_their_places_back),
    NAMED(a_daemon_writes_and_another_looks_on),
    NAMED(a_map_that_another_process_made_larger),
    NAMED(a_hard_link_that_another_process_has_open),
};
static const struct role roles[] = {
    NAMED(add_many),       NAMED(count_up),      NAMED(change_remove_add), NAMED(stop_in_a_write),
    NAMED(die_in_a_write), NAMED(read_and_wait), NAMED(only_look),         NAMED(fill),
};
TEST_MAIN_WITH_ROLES(tests, roles)
