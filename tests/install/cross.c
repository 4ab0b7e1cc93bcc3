/*
 * Writes, reads and verifies a store, and shows that a program with another C library may not open
 * it meanwhile; for scripts/test-cross.sh.
 *
 *     cross write STORE COUNT     adds so many devices
 *     cross read STORE COUNT      fails unless there are so many, and the store verifies
 *     cross beside STORE PROGRAM  opens the store, and has the program refused that
 *     cross refused STORE x       fails unless the store is refused
 */
#include <pool_metadata.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static pm_error error = PM_ERROR_INIT;

static void must(int32_t status, const char *what) {
    if (status != PM_OK) {
        fprintf(stderr, "cross: %s: %s: %s\n", what, pm_status_name(status), error.message);
        exit(1);
    }
}

static uint64_t devices(pm_store *store) {
    pm_stats stats = PM_STATS_INIT;
    must(pm_get_stats(store, &stats, &error), "counting");
    return stats.devices;
}

static void add(pm_store *store, uint64_t count) {
    uint64_t number = devices(store);
    for (; count > 0; count--, number++) {
        char name[32];
        pm_device device = PM_DEVICE_INIT;
        device.name = name;
        device.name_len = (size_t)snprintf(name, sizeof name, "device-%llu",
                                           (unsigned long long)number);
        device.size = number << 30;
        must(pm_add_device(store, &device, &error), "adding");
    }
}

static int refuse(const char *program, const char *path) {
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        execl(program, program, "refused", path, "x", (char *)NULL);
        _exit(127);
    }
    return waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int main(int argc, char **argv) {
    pm_store *store = NULL;
    int32_t status;
    int result = 0;
    if (argc != 4) {
        return 2;
    }
    status = pm_open(PM_CSTR(argv[2]), NULL, &store, &error);
    if (strcmp(argv[1], "refused") == 0) {
        if (status != PM_ERR_OTHER_LMDB || strstr(error.message, "C library") == NULL) {
            fprintf(stderr, "cross: not refused: %s\n", pm_status_name(status));
            return 1;
        }
        return 0;
    }
    must(status, "opening");
    if (strcmp(argv[1], "write") == 0) {
        add(store, strtoull(argv[3], NULL, 10));
    } else if (strcmp(argv[1], "read") == 0) {
        uint64_t found = devices(store);
        must(pm_verify(store, &error), "verifying");
        if (found != strtoull(argv[3], NULL, 10)) {
            fprintf(stderr, "cross: %llu devices\n", (unsigned long long)found);
            result = 1;
        }
    } else {
        result = refuse(argv[3], argv[2]);
        /* That has not disturbed this program. */
        add(store, 1);
        must(pm_verify(store, &error), "verifying");
    }
    must(pm_close(store, &error), "closing");
    return result;
}
