/* A store that another process makes larger while this one opens it; see faults.c. */
#include "test.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "faults.h"

static pm_store *store;

static void open_small(const char *path) {
    pm_options options = PM_OPTIONS_INIT;
    options.map_size = 1 << 20;
    OK(pm_open(PM_CSTR(path), &options, &store, why()));
}

/* "K PATH": is stopped before its K-th mapping of a file while it opens the store. */
static int stop_in_opening(const char *argument) {
    unsigned k = 0;
    int at = 0;
    char line[32];
    CHECK(sscanf(argument, "%u %n", &k, &at) == 1);
    fault_signal(FAULT_MAP, k, SIGSTOP);
    say("opening");
    open_small(argument + at);
    CHECK_INT(1, fault_end(FAULT_MAP));
    add(store, "child");
    snprintf(line, sizeof line, "%u", (unsigned)device_count(store));
    say(line);
    check_store(store);
    close_store(store);
    return 0;
}

static uint64_t map_size(void) {
    pm_stats stats = PM_STATS_INIT;
    OK(pm_get_stats(store, &stats, why()));
    return stats.map_size;
}

/* Adds devices until the map is larger. */
static void grow(void) {
    static char text[200 << 10];
    static unsigned next;
    uint64_t before = map_size();
    while (map_size() == before) {
        char name[32];
        pm_device device;
        snprintf(name, sizeof name, "large-%u", next++);
        device = device_named(name);
        device.error = text;
        device.error_len = sizeof text;
        OK(pm_add_device(store, &device, why()));
    }
}

static void map_grows_while_another_process_opens_the_store(void) {
    unsigned k;
    /* The lock file and the data file. */
    for (k = 0; k < 2; k++) {
        char argument[4200];
        char count[32];
        struct peer peer;
        int status = 0;
        open_small(place("pool.db"));
        snprintf(argument, sizeof argument, "%u %s", k, place("pool.db"));
        peer = peer_start("stop_in_opening", argument);
        peer_expect(&peer, "opening");
        CHECK(waitpid(peer.pid, &status, WUNTRACED) == peer.pid);
        CHECK(WIFSTOPPED(status));
        grow();
        snprintf(count, sizeof count, "%u", (unsigned)device_count(store) + 1);
        CHECK(kill(peer.pid, SIGCONT) == 0);
        peer_expect(&peer, count);
        peer_finish(&peer);
        OK(pm_remove_device(store, PM_LIT("child"), why()));
        close_store(store);
    }
}

static const struct test tests[] = {
    NAMED(map_grows_while_another_process_opens_the_store),
};
static const struct role roles[] = {NAMED(stop_in_opening)};
TEST_MAIN_WITH_ROLES(tests, roles)
