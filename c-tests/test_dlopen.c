/*
 * A client that is not linked to the library: it loads it at run time, and finds the functions by
 * name.
 *
 * It takes only types and constants from the header, and uses none of the harness, which is linked.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <pool_metadata.h>

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct {
    uint32_t (*abi_version)(void);
    const char *(*version)(void);
    const char *(*status_name)(int32_t);
    int32_t (*open)(const char *, size_t, const pm_options *, pm_store **, pm_error *);
    int32_t (*close)(pm_store *, pm_error *);
    int32_t (*verify)(pm_store *, pm_error *);
    int32_t (*add_device)(pm_store *, pm_device *, pm_error *);
    int32_t (*get_device)(pm_store *, const char *, size_t, pm_device **, pm_error *);
    int32_t (*mark_faulty)(pm_store *, const char *, size_t, pm_error *);
    int32_t (*remove_device)(pm_store *, const char *, size_t, pm_error *);
    int32_t (*update_device)(pm_store *, const char *, size_t, pm_update_callback, void *,
                             pm_error *);
    int32_t (*update_begin)(pm_store *, const char *, size_t, pm_update **, pm_device **,
                            pm_error *);
    int32_t (*update_commit)(pm_update *, pm_error *);
    int32_t (*device_set_error)(pm_device *, const char *, size_t, pm_error *);
    int32_t (*walk_devices)(pm_store *, pm_walk_callback, void *, pm_error *);
    int32_t (*walk_open)(pm_store *, pm_walk **, pm_error *);
    int32_t (*walk_next)(pm_walk *, void *, size_t, size_t *, size_t *, pm_error *);
    void (*walk_close)(pm_walk *);
    void (*free)(void *);
} pm;

static const char *current = "";
static char directory[64];
static char path[128];

#define CHECK(condition)                                                               \
    do {                                                                               \
        if (!(condition)) {                                                            \
            printf("FAILED test_dlopen: %s: %s:%d: not so: %s\n", current, __FILE__, \
                   __LINE__, #condition);                                              \
            fflush(stdout);                                                            \
            _exit(1);                                                                  \
        }                                                                              \
    } while (0)

static void *load(void) {
    const char *library = getenv("PM_LIBRARY");
    void *loaded;
    CHECK(library != NULL);
    loaded = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (loaded == NULL) {
        printf("%s\n", dlerror());
    }
    CHECK(loaded != NULL);
    return loaded;
}

/* ISO C has no conversion from an object pointer to a function's; POSIX has, by way of memory. */
static void find(void *loaded, const char *name, void *function) {
    void *found = dlsym(loaded, name);
    CHECK(found != NULL);
    memcpy(function, &found, sizeof found);
}

static void find_all(void *loaded) {
#define FIND(name) find(loaded, "pm_" #name, &pm.name)
    FIND(abi_version);
    FIND(version);
    FIND(status_name);
    FIND(open);
    FIND(close);
    FIND(verify);
    FIND(add_device);
    FIND(get_device);
    FIND(mark_faulty);
    FIND(remove_device);
    FIND(update_device);
    FIND(update_begin);
    FIND(update_commit);
    FIND(device_set_error);
    FIND(walk_devices);
    FIND(walk_open);
    FIND(walk_next);
    FIND(walk_close);
    FIND(free);
#undef FIND
}

static int32_t suspend(pm_device *device, void *calls) {
    ++*(int *)calls;
    device->state = PM_STATE_SUSPENDED;
    return 0;
}

static int32_t refuse(pm_device *device, void *unused) {
    (void)unused;
    device->state = PM_STATE_REMOVED;
    return -77;
}

static int32_t count_device(const pm_device *device, void *count) {
    CHECK(device->name_len == 1);
    ++*(int *)count;
    return 0;
}

static uint32_t add(pm_store *store, const char *name) {
    pm_device device = PM_DEVICE_INIT;
    device.name = name;
    device.name_len = strlen(name);
    CHECK(pm.add_device(store, &device, NULL) == PM_OK);
    return device.device_id;
}

static void page_through(pm_store *store) {
    pm_walk *walk = NULL;
    uint64_t page[64];
    size_t count = 0;
    const pm_record *record = (const pm_record *)(const void *)page;
    CHECK(pm.walk_open(store, &walk, NULL) == PM_OK);
    CHECK(pm.walk_next(walk, page, sizeof page, &count, NULL, NULL) == PM_OK);
    CHECK(count == 2);
    CHECK(record->name_len == 1 && pm_record_name(record)[0] == 'a' &&
          record->state == PM_STATE_SUSPENDED);
    record = pm_record_next(record);
    CHECK(record->device_id == 2 && strcmp(pm_record_error(record), "late") == 0);
    pm.walk_close(walk);
}

static void use_store(void) {
    pm_error error = PM_ERROR_INIT;
    pm_options options = PM_OPTIONS_INIT;
    pm_store *store = NULL;
    pm_update *update = NULL;
    pm_device *device = NULL;
    int calls = 0;
    CHECK(pm.open(PM_CSTR(path), &options, &store, &error) == PM_OK);
    CHECK(add(store, "a") == 1 && add(store, "b") == 2);
    CHECK(pm.update_device(store, PM_LIT("a"), suspend, &calls, &error) == PM_OK && calls == 1);
    CHECK(pm.update_device(store, PM_LIT("a"), refuse, NULL, &error) == PM_ERR_CALLBACK);
    CHECK(error.code == PM_ERR_CALLBACK && error.callback_code == -77);
    CHECK(pm.update_begin(store, PM_LIT("b"), &update, &device, &error) == PM_OK);
    CHECK(pm.device_set_error(device, PM_LIT("late"), &error) == PM_OK);
    CHECK(pm.update_commit(update, &error) == PM_OK);
    calls = 0;
    CHECK(pm.walk_devices(store, count_device, &calls, &error) == PM_OK && calls == 2);
    page_through(store);
    CHECK(pm.remove_device(store, PM_LIT("none"), &error) == PM_ERR_NOT_FOUND);
    CHECK(strcmp(pm.status_name(error.code), "PM_ERR_NOT_FOUND") == 0 &&
          strstr(error.message, "none") != NULL);
    CHECK(pm.get_device(store, PM_LIT("b"), &device, &error) == PM_OK);
    CHECK(pm.mark_faulty(store, PM_LIT("b"), &error) == PM_OK);
    CHECK(pm.verify(store, &error) == PM_OK);
    CHECK(pm.close(store, &error) == PM_OK);
    CHECK(device->device_id == 2 && strcmp(device->error, "late") == 0);
    pm.free(device);
    CHECK(unlink(path) == 0);
}

static void loaded_library_has_the_version_and_works(void) {
    void *loaded = load();
    find_all(loaded);
    CHECK(pm.abi_version() == PM_ABI_VERSION);
    CHECK(strchr(pm.version(), '.') != NULL);
    use_store();
    CHECK(dlclose(loaded) == 0);
}

static void library_is_loaded_again_and_again(void) {
    int i;
    for (i = 0; i < 5; i++) {
        void *loaded = load();
        find_all(loaded);
        use_store();
        CHECK(dlclose(loaded) == 0);
    }
}

static pthread_barrier_t used;
static pthread_barrier_t unloaded;

/* What the library keeps for a thread is given back when the thread ends: here after dlclose. */
static void *use_and_end_later(void *unused) {
    (void)unused;
    use_store();
    pthread_barrier_wait(&used);
    pthread_barrier_wait(&unloaded);
    return NULL;
}

static void thread_ends_after_the_library_is_closed(void) {
    pthread_t thread;
    void *loaded = load();
    find_all(loaded);
    CHECK(pthread_barrier_init(&used, NULL, 2) == 0 &&
          pthread_barrier_init(&unloaded, NULL, 2) == 0);
    CHECK(pthread_create(&thread, NULL, use_and_end_later, NULL) == 0);
    pthread_barrier_wait(&used);
    CHECK(dlclose(loaded) == 0);
    pthread_barrier_wait(&unloaded);
    CHECK(pthread_join(thread, NULL) == 0);
    pthread_barrier_destroy(&used);
    pthread_barrier_destroy(&unloaded);
}

static void *open_and_end(void *store) {
    CHECK(pm.open(PM_CSTR(path), NULL, store, NULL) == PM_OK);
    return NULL;
}

/*
 * A store that is still open when the library is closed stays open, since the library is not
 * unloaded: it would lose its list of open files, and a second open of the file could damage it.
 * This test is the first, and opens in a thread that has ended, because thread-local data of a
 * living thread keeps the library loaded as well.
 */
static void store_left_open_outlives_dlclose(void) {
    pm_store *store = NULL;
    pm_store *second = NULL;
    pthread_t thread;
    void *loaded = load();
    find_all(loaded);
    CHECK(pthread_create(&thread, NULL, open_and_end, &store) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(dlclose(loaded) == 0);
    loaded = load();
    find_all(loaded);
    CHECK(pm.open(PM_CSTR(path), NULL, &second, NULL) == PM_ERR_ALREADY_OPEN);
    CHECK(add(store, "a") == 1);
    CHECK(pm.close(store, NULL) == PM_OK);
    CHECK(pm.close(store, NULL) == PM_ERR_CLOSED);
    CHECK(dlclose(loaded) == 0);
    CHECK(unlink(path) == 0);
}

static const struct {
    const char *name;
    void (*run)(void);
} tests[] = {
#define NAMED(function) { #function, function }
    NAMED(store_left_open_outlives_dlclose),
    NAMED(loaded_library_has_the_version_and_works),
    NAMED(library_is_loaded_again_and_again),
    NAMED(thread_ends_after_the_library_is_closed),
};

int main(int argc, char **argv) {
    size_t count = sizeof tests / sizeof tests[0];
    char lock[160];
    size_t i;
    alarm(600);
    snprintf(directory, sizeof directory, "/tmp/pm-c-test-XXXXXX");
    CHECK(mkdtemp(directory) != NULL);
    snprintf(path, sizeof path, "%s/pool.db", directory);
    printf("plan test_dlopen %u\n", (unsigned)count);
    for (i = 0; i < count; i++) {
        if (argc > 1 && strcmp(argv[1], tests[i].name) != 0) {
            continue;
        }
        current = tests[i].name;
        tests[i].run();
        printf("ok test_dlopen: %s\n", current);
        fflush(stdout);
    }
    snprintf(lock, sizeof lock, "%s-lock", path);
    unlink(lock);
    rmdir(directory);
    return 0;
}
