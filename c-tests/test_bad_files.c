/*
 * The status of each thing that may be found where a store should be, and paths as C passes them.
 * What is refused, and that it stays as it was, is in tests/meaning/open.rs.
 */
#include "test.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void refuse_path(const char *path, size_t path_len, int32_t code, const char *word) {
    pm_store *store = UNTOUCHED;
    FAILS(code, pm_open(path, path_len, NULL, &store, why()));
    CHECK(store == UNTOUCHED);
    if (strstr(told()->message, word) == NULL) {
        fail(__FILE__, __LINE__, "\"%s\" is not in: %s", word, told()->message);
    }
}

static void refuse(const char *path, int32_t code, const char *word) {
    refuse_path(PM_CSTR(path), code, word);
}

static void file_that_is_no_store_is_refused(void) {
    static unsigned char pages[2 * 4096];
    CHECK(mkdir(place("directory"), 0700) == 0);
    refuse(place("directory"), PM_ERR_NOT_REGULAR_FILE, "directory");
    write_file(place("text"), "some text", 9);
    refuse(place("text"), PM_ERR_NOT_A_STORE, "some tex");
    check_file(place("text"), "some text", 9);
    /* The second of a bbolt file's meta pages: its flag, magic number, version and page size. */
    pages[4096 + 8] = 4;
    memcpy(pages + 4096 + 16, "\xed\xda\x0c\xed\x02\0\0\0\0\x10", 10);
    write_file(place("bbolt"), pages, sizeof pages);
    refuse(place("bbolt"), PM_ERR_BBOLT_FILE, "bbolt");
    craft("foreign", place("foreign"), "a row");
    refuse(place("foreign"), PM_ERR_FOREIGN_LMDB, "another program");
}

static void store_that_cannot_be_read_is_refused(void) {
    const char *path = place("pool.db");
    size_t len = 0;
    unsigned char *bytes;
    close_store(open_with(path, 0));
    craft("format", path, "3");
    refuse(path, PM_ERR_NEWER_FORMAT, "format 3");
    bytes = read_file(path, &len);
    write_file(path, bytes, 5000);
    refuse(path, PM_ERR_CORRUPT, "cut short");
    check_file(path, bytes, 5000);
    free(bytes);
}

/* A caller that takes the name for a text would take the device for another one. */
static void name_with_a_nul_is_found_by_its_length_alone(void) {
    pm_options options = PM_OPTIONS_INIT;
    pm_store *store = open_new("pool.db");
    pm_device *device = NULL;
    pm_names *names = NULL;
    add(store, "base");
    close_store(store);
    craft("nul-name", place("pool.db"), "base");
    refuse(place("pool.db"), PM_ERR_CORRUPT, "base\\x00x");
    options.verify = PM_VERIFY_NONE;
    OK(pm_open(PM_CSTR(place("pool.db")), &options, &store, why()));
    FAILS(PM_ERR_NOT_FOUND, pm_get_device(store, PM_LIT("base"), &device, why()));
    OK(pm_get_device(store, PM_LIT("base\0x"), &device, why()));
    CHECK_TEXT("base\0x", device->name, device->name_len);
    pm_free(device);
    OK(pm_get_device_names(store, &names, why()));
    CHECK(names->count == 1 && names->names[0].name_len == 6);
    pm_free(names);
    OK(pm_close(store, why()));
}

static void path_that_can_name_nothing_is_refused(void) {
    static char path[5000];
    refuse_path(NULL, 0, PM_ERR_INVALID_PATH, "empty");
    refuse_path("a\0b", 3, PM_ERR_INVALID_PATH, "NUL");
    memset(path, '/', sizeof path);
    refuse_path(path, sizeof path, PM_ERR_INVALID_PATH, "4,090 bytes");
    refuse(place("none/pool.db"), PM_ERR_NO_SUCH_FILE, "directory");
}

/* Runs the rest of the test in a child without privileges, to whom permissions apply. */
static void unprivileged(void (*run)(void)) {
    pid_t child;
    CHECK(chmod(place(""), 0755) == 0);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        if (geteuid() == 0) {
            CHECK(setgid(65534) == 0 && setuid(65534) == 0);
        }
        run();
        end_child();
    }
    wait_for(child);
}

static void open_without_permission(void) {
    refuse(place("pool.db"), PM_ERR_PERMISSION, place("pool.db"));
    CHECK_INT(EACCES, told()->os_error);
    refuse(place("closed/new.db"), PM_ERR_PERMISSION, place("closed/new.db"));
}

static void file_of_another_user_is_refused(void) {
    close_store(open_new("pool.db"));
    CHECK(chmod(place("pool.db"), 0000) == 0 && mkdir(place("closed"), 0555) == 0);
    unprivileged(open_without_permission);
    CHECK(chmod(place("pool.db"), 0600) == 0);
    close_store(open_with(place("pool.db"), 0));
}

static const struct test tests[] = {
    NAMED(file_that_is_no_store_is_refused),
    NAMED(store_that_cannot_be_read_is_refused),
    NAMED(name_with_a_nul_is_found_by_its_length_alone),
    NAMED(path_that_can_name_nothing_is_refused),
    NAMED(file_of_another_user_is_refused),
};
TEST_MAIN(tests)
