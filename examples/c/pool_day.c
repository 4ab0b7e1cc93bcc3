/*
 * A day in the life of a thin-pool's metadata, on a real file: what a snapshotter does to its store
 * from morning to night, with a callback that refuses, a device that fails, and a crash in the
 * middle of writing.
 *
 *     make run
 * or
 *     cc pool_day.c $(pkg-config --cflags --libs pool-metadata) -o pool_day
 *     ./pool_day /tmp/metadata.db
 *
 * Every step checks its outcome, so the program exits with 0 only if all went as it should.
 */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <inttypes.h>
#include <pool_metadata.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define GIB (UINT64_C(1) << 30)
#define ACKNOWLEDGED_BEFORE_KILL 200

static int step_number;

static void step(const char *format, ...) {
    va_list args;
    va_start(args, format);
    printf("%2d. ", ++step_number);
    vprintf(format, args);
    putchar('\n');
    fflush(stdout);
    va_end(args);
}

static void check(int ok, const char *what) {
    if (!ok) {
        fprintf(stderr, "pool_day: failed: %s\n", what);
        exit(1);
    }
}

/* Ends the program unless the call returned the status that is wanted, which may be an error. */
static void expect(int32_t wanted, int32_t status, const pm_error *err, const char *what) {
    if (status != wanted) {
        fprintf(stderr, "pool_day: %s: %s, expected %s: %s\n", what, pm_status_name(status),
                pm_status_name(wanted), status == PM_OK ? "no error" : err->message);
        exit(1);
    }
}

static pm_store *open_store(const char *path, int32_t verify) {
    pm_error err = PM_ERROR_INIT;
    pm_options options = PM_OPTIONS_INIT;
    pm_store *store = NULL;
    options.verify = verify;
    expect(PM_OK, pm_open(PM_CSTR(path), &options, &store, &err), &err, "open");
    return store;
}

static uint32_t add(pm_store *store, const char *name, const char *parent) {
    pm_error err = PM_ERROR_INIT;
    pm_device device = PM_DEVICE_INIT;
    device.name = name;
    device.name_len = strlen(name);
    device.parent_name = parent;
    device.parent_name_len = strlen(parent);
    device.size = 10 * GIB;
    device.state = PM_STATE_UNKNOWN;
    expect(PM_OK, pm_add_device(store, &device, &err), &err, "add");
    return device.device_id;
}

static int32_t set_state(pm_device *device, void *user_data) {
    device->state = *(const int32_t *)user_data;
    return 0;
}

/* Moves a device from state to state, each durable before the pool itself would be touched. */
static void move_through(pm_store *store, const char *name, const int32_t *states, size_t count) {
    size_t i;
    for (i = 0; i < count; i++) {
        pm_error err = PM_ERROR_INIT;
        int32_t state = states[i];
        int32_t status = pm_update_device(store, PM_CSTR(name), set_state, &state, &err);
        expect(PM_OK, status, &err, "update");
    }
}

static void create_and_activate(pm_store *store, const char *name) {
    static const int32_t states[] = {PM_STATE_CREATING, PM_STATE_CREATED, PM_STATE_ACTIVATING,
                                     PM_STATE_ACTIVATED};
    move_through(store, name, states, sizeof states / sizeof states[0]);
}

/* As if `dmsetup message ... create_snap` had failed half way through the callback. */
static int32_t fail_with_eio(pm_device *device, void *user_data) {
    (void)user_data;
    device->state = PM_STATE_SUSPENDED;
    device->size = 0;
    return EIO;
}

static void morning(pm_store *store) {
    static const int32_t suspend[] = {PM_STATE_SUSPENDING, PM_STATE_SUSPENDED};
    static const int32_t resume[] = {PM_STATE_RESUMING, PM_STATE_RESUMED};
    uint32_t base = add(store, "base", "");
    uint32_t layer;
    create_and_activate(store, "base");
    step("created base as device %" PRIu32 ", moved it through four states to Activated", base);

    move_through(store, "base", suspend, 2);
    layer = add(store, "layer-1", "base");
    create_and_activate(store, "layer-1");
    move_through(store, "base", resume, 2);
    step("suspended base, took its snapshot layer-1 as device %" PRIu32 ", resumed base", layer);
}

static void failing_callback(pm_store *store) {
    pm_error err = PM_ERROR_INIT;
    pm_device *device = NULL;
    int32_t status = pm_update_device(store, PM_LIT("layer-1"), fail_with_eio, NULL, &err);
    expect(PM_ERR_CALLBACK, status, &err, "update with a callback that fails");
    check(err.callback_code == EIO, "the callback's own code");
    check(strstr(err.message, "layer-1") != NULL, "the device's name in the message");
    expect(PM_OK, pm_get_device(store, PM_LIT("layer-1"), &device, &err), &err, "get");
    check(device->state == PM_STATE_ACTIVATED && device->size == 10 * GIB,
          "a record whose update was refused");
    pm_free(device);
    step("a callback on layer-1 failed with code %" PRId32 ": nothing was written\n      (%s)",
         err.callback_code, err.message);
}

static void faulty_device(pm_store *store) {
    pm_error err = PM_ERROR_INIT;
    pm_device again = PM_DEVICE_INIT;
    uint32_t first = add(store, "layer-2", "layer-1");
    uint32_t second;
    create_and_activate(store, "layer-2");
    again.name = "layer-2";
    again.name_len = strlen(again.name);
    expect(PM_ERR_ALREADY_EXISTS, pm_add_device(store, &again, &err), &err, "add it twice");
    expect(PM_OK, pm_mark_faulty(store, PM_LIT("layer-2"), &err), &err, "mark faulty");
    second = add(store, "layer-2", "layer-1");
    check(second != first, "the id of a device added again");
    create_and_activate(store, "layer-2");
    step("layer-2 (device %" PRIu32 ") went faulty; added again it is device %" PRIu32
         ", and %" PRIu32 " stays out of use",
         first, second, first);
}

/* The child: adds devices as fast as it can, and reports each once the call has returned, which
 * means that it is durable. */
static void write_until_killed(const char *path, int pipe_end) {
    pm_store *store = open_store(path, PM_VERIFY_DEFAULT);
    uint32_t number;
    for (number = 1;; number++) {
        char name[32];
        snprintf(name, sizeof name, "burst-%06" PRIu32, number);
        add(store, name, "base");
        if (write(pipe_end, &number, sizeof number) != (ssize_t)sizeof number) {
            _exit(1);
        }
    }
}

/* Returns the number of the last device that the killed process has reported. */
static uint32_t crash(const char *path) {
    int ends[2];
    int status = 0;
    uint32_t number = 0;
    uint32_t acknowledged = 0;
    pid_t child;
    check(pipe(ends) == 0, "pipe");
    child = fork();
    check(child >= 0, "fork");
    if (child == 0) {
        close(ends[0]);
        write_until_killed(path, ends[1]);
    }
    close(ends[1]);
    while (read(ends[0], &number, sizeof number) == (ssize_t)sizeof number) {
        acknowledged = number;
        if (number == ACKNOWLEDGED_BEFORE_KILL) {
            kill(child, SIGKILL);
        }
    }
    close(ends[0]);
    check(waitpid(child, &status, 0) == child, "waitpid");
    check(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "the child's end");
    return acknowledged;
}

struct burst {
    pm_store *store;
    uint32_t count;
};

/* A walk's callback may write: the walk continues on the snapshot that it began with. */
static int32_t remove_burst(const pm_device *device, void *user_data) {
    struct burst *burst = user_data;
    pm_error err = PM_ERROR_INIT;
    if (device->name_len > 6 && memcmp(device->name, "burst-", 6) == 0) {
        burst->count++;
        expect(PM_OK, pm_remove_device(burst->store, device->name, device->name_len, &err), &err,
               "remove");
    }
    return 0;
}

static void clean_up(pm_store *store, uint32_t acknowledged) {
    struct burst burst;
    pm_error err = PM_ERROR_INIT;
    uint32_t number;
    for (number = 1; number <= acknowledged; number++) {
        pm_device *device = NULL;
        char name[32];
        snprintf(name, sizeof name, "burst-%06" PRIu32, number);
        expect(PM_OK, pm_get_device(store, PM_CSTR(name), &device, &err), &err,
               "get after the crash");
        pm_free(device);
    }
    burst.store = store;
    burst.count = 0;
    expect(PM_OK, pm_walk_devices(store, remove_burst, &burst, &err), &err, "walk");
    /* The kill may have come between a commit and its report, but every report has its commit. */
    check(burst.count == acknowledged || burst.count == acknowledged + 1,
          "the number of devices after the crash");
    step("reopened and verified in full: all %" PRIu32 " are there, %" PRIu32
         " more; removed them, which frees their ids",
         acknowledged, burst.count - acknowledged);
}

static int32_t print_row(const pm_device *device, void *user_data) {
    ++*(unsigned *)user_data;
    printf("    %-10.*s %6" PRIu32 "  %4" PRIu64 " GiB  %-10.*s %-12s %5" PRIu64 "\n",
           (int)device->name_len, device->name, device->device_id, device->size / GIB,
           (int)device->parent_name_len, device->parent_name, pm_state_name(device->state),
           device->generation);
    return 0;
}

int main(int argc, char **argv) {
    pm_error err = PM_ERROR_INIT;
    pm_store *store;
    unsigned rows = 0;
    uint32_t acknowledged;
    if (argc != 2) {
        fprintf(stderr, "usage: %s FILE (which is created, and must not exist)\n", argv[0]);
        return 2;
    }
    check(access(argv[1], F_OK) != 0, "FILE must not exist yet; it");
    store = open_store(argv[1], PM_VERIFY_DEFAULT);
    step("opened %s (pool-metadata %s, %s)", argv[1], pm_version(), pm_lmdb_version());
    morning(store);
    failing_callback(store);
    faulty_device(store);
    expect(PM_OK, pm_close(store, &err), &err, "close");

    acknowledged = crash(argv[1]);
    step("closed; another process added devices and was killed by SIGKILL after %" PRIu32
         " were reported durable",
         acknowledged);
    store = open_store(argv[1], PM_VERIFY_FULL);
    clean_up(store, acknowledged);

    step("the pool at the end of the day:");
    printf("    %-10s %6s  %8s  %-10s %-12s %s\n", "NAME", "DEVICE", "SIZE", "PARENT", "STATE",
           "GENERATION");
    expect(PM_OK, pm_walk_devices(store, print_row, &rows, &err), &err, "walk");
    check(rows == 3, "the number of devices left");
    expect(PM_OK, pm_close(store, &err), &err, "close");
    return 0;
}
