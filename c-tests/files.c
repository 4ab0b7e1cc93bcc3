/* Stores, and files; see files.h. */
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

static char directory[4096];
/* What place() has handed out; each stays valid until the test ends. */
static char *paths[64];
static size_t path_count;
/* The process that made the directory: a forked child's failure must not take it away. */
static pid_t owner;

/* In memory where that has room: these tests do not measure how fast a disk flushes. Others may
 * have filled it, or left their files there when they were killed. */
static const char *parent_directory(void) {
    const char *memory = "/dev/shm";
    const char *wanted = getenv("PM_TEST_DIR");
    struct statvfs space;
    if (wanted != NULL) {
        return wanted;
    }
    if (access(memory, W_OK | X_OK) == 0 && statvfs(memory, &space) == 0 &&
        (uint64_t)space.f_bavail * space.f_frsize >= (uint64_t)32 << 20) {
        return memory;
    }
    return "/tmp";
}

void make_place(void) {
    snprintf(directory, sizeof directory, "%s/pm-c-test-XXXXXX", parent_directory());
    CHECK(mkdtemp(directory) != NULL);
    owner = getpid();
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *level) {
    (void)info;
    (void)kind;
    (void)level;
    return remove(path);
}

void remove_place(void) {
    while (path_count > 0) {
        free(paths[--path_count]);
    }
    if (directory[0] != '\0' && owner == getpid()) {
        nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
        directory[0] = '\0';
    }
}

const char *place(const char *file_name) {
    size_t len = strlen(directory);
    size_t i;
    char *path;
    for (i = 0; i < path_count; i++) {
        if (strcmp(paths[i] + len + 1, file_name) == 0) {
            return paths[i];
        }
    }
    CHECK(path_count < COUNT(paths));
    path = malloc(len + strlen(file_name) + 2);
    CHECK(path != NULL);
    sprintf(path, "%s/%s", directory, file_name);
    paths[path_count++] = path;
    return path;
}

unsigned char *read_file(const char *path, size_t *len) {
    struct stat info;
    unsigned char *bytes;
    ssize_t got = 0;
    size_t done = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    CHECK(fstat(fd, &info) == 0);
    bytes = malloc((size_t)info.st_size + 1);
    CHECK(bytes != NULL);
    while ((got = read(fd, bytes + done, (size_t)info.st_size - done)) > 0) {
        done += (size_t)got;
    }
    close(fd);
    CHECK_INT(info.st_size, done);
    *len = done;
    return bytes;
}

void write_file(const char *path, const void *bytes, size_t len) {
    FILE *file = fopen(path, "wb");
    CHECK(file != NULL);
    CHECK_INT(len, fwrite(bytes, 1, len, file));
    CHECK(fclose(file) == 0);
}

void check_file(const char *path, const void *bytes, size_t len) {
    size_t now_len = 0;
    unsigned char *now = read_file(path, &now_len);
    CHECK_BYTES(bytes, len, now, now_len);
    free(now);
}

void craft(const char *what, const char *path, const char *argument) {
    const char *helper = getenv("PM_TEST_CRAFT");
    int status = 0;
    pid_t child;
    if (helper == NULL) {
        fail(__FILE__, __LINE__,
             "PM_TEST_CRAFT must name the program of examples/craft_store.rs; run.sh sets it");
    }
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        execl(helper, helper, what, path, argument, (char *)NULL);
        _exit(127);
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK_INT(0, status);
}

void damage(const char *path, const char *bytes) {
    size_t len = 0;
    size_t wanted = strlen(bytes);
    unsigned char *file = read_file(path, &len);
    size_t at;
    int found = 0;
    for (at = 0; at + wanted <= len; at++) {
        if (memcmp(file + at, bytes, wanted) == 0) {
            file[at] ^= 0x20;
            found = 1;
        }
    }
    CHECK(found);
    write_file(path, file, len);
    free(file);
}

pm_store *open_with(const char *path, unsigned lock_wait_ms) {
    pm_options options = PM_OPTIONS_INIT;
    pm_store *store = NULL;
    /* Longer than the default: under memcheck, two processes that take turns are slow. */
    options.lock_wait_ms = lock_wait_ms != 0 ? lock_wait_ms : 180000;
    OK(pm_open(PM_CSTR(path), &options, &store, why()));
    CHECK(store != NULL);
    return store;
}

pm_store *open_new(const char *file_name) {
    return open_with(place(file_name), 0);
}

void close_store(pm_store *store) {
    check_store(store);
    OK(pm_close(store, why()));
}

void check_store(pm_store *store) {
    pm_stats stats = PM_STATS_INIT;
    pm_names *names = NULL;
    size_t i;
    OK(pm_verify(store, why()));
    OK(pm_get_stats(store, &stats, why()));
    OK(pm_get_device_names(store, &names, why()));
    CHECK_INT(stats.devices, names->count);
    CHECK_INT(stats.last_id, stats.taken_ids + stats.free_ids + stats.faulty_ids);
    CHECK(stats.last_id <= PM_MAX_DEVICE_ID && stats.taken_ids <= stats.devices);
    for (i = 1; i < names->count; i++) {
        CHECK(strcmp(names->names[i - 1].name, names->names[i].name) < 0);
    }
    pm_free(names);
}

pm_device device_named(const char *name) {
    pm_device device = PM_DEVICE_INIT;
    device.name = name;
    device.name_len = strlen(name);
    return device;
}

uint32_t add(pm_store *store, const char *name) {
    pm_device device = device_named(name);
    device.size = 4096;
    device.state = PM_STATE_ACTIVATED;
    OK(pm_add_device(store, &device, why()));
    return device.device_id;
}

int32_t apply_one(pm_store *store, int32_t kind, pm_device *device, pm_error *error) {
    pm_change change;
    change.kind = kind;
    change.device = device;
    return pm_apply(store, &change, 1, NULL, error);
}

uint64_t device_count(pm_store *store) {
    pm_stats stats = PM_STATS_INIT;
    OK(pm_get_stats(store, &stats, why()));
    return stats.devices;
}

int32_t state_of(pm_store *store, const char *name) {
    pm_device *device = NULL;
    int32_t state;
    OK(pm_get_device(store, PM_CSTR(name), &device, why()));
    state = device->state;
    pm_free(device);
    return state;
}
