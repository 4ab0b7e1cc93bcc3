/* What may be found where a store should be: each its own error, a message that helps, and the file as it was. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *with(const char *path, const char *suffix) {
    static char longer[8300];
    snprintf(longer, sizeof longer, "%s%s", path, suffix);
    return longer;
}

/* Refused at every level of verification, read-only and not; nothing is put into the caller's pointer. */
static void refuse_path(const char *path, size_t path_len, int32_t code, const char *word) {
    static const int32_t levels[] = { PM_VERIFY_DEFAULT, PM_VERIFY_NONE, PM_VERIFY_QUICK, PM_VERIFY_FULL };
    pm_options options = PM_OPTIONS_INIT;
    size_t i;
    for (i = 0; i < 2 * COUNT(levels); i++) {
        pm_store *store = UNTOUCHED;
        options.verify = levels[i / 2];
        options.flags = i % 2 == 0 ? 0 : PM_OPEN_READ_ONLY;
        FAILS(code, pm_open(path, path_len, &options, &store, why()));
        CHECK(store == UNTOUCHED);
        if (strstr(told()->message, word) == NULL) {
            fail(__FILE__, __LINE__, "\"%s\" is not in: %s", word, told()->message);
        }
    }
}

static void refuse(const char *path, int32_t code, const char *word) {
    refuse_path(PM_CSTR(path), code, word);
    CHECK(access(with(path, "-lock"), F_OK) != 0);
    CHECK(access(with(path, ".new"), F_OK) != 0);
}

/* The same for a file, whose bytes and times must stay as they are. */
static void refuse_file(const char *path, int32_t code, const char *word) {
    struct stat before;
    struct stat after;
    size_t len = 0;
    unsigned char *bytes = read_file(path, &len);
    CHECK(stat(path, &before) == 0);
    refuse(path, code, word);
    CHECK(stat(path, &after) == 0);
    CHECK(before.st_mtim.tv_sec == after.st_mtim.tv_sec && before.st_mtim.tv_nsec == after.st_mtim.tv_nsec);
    CHECK(before.st_mode == after.st_mode && before.st_ino == after.st_ino);
    check_file(path, bytes, len);
    free(bytes);
}

static void refuse_bytes(const void *bytes, size_t len, int32_t code, const char *word) {
    const char *path = place("file");
    write_file(path, bytes, len);
    refuse_file(path, code, word);
}

/* A store with some devices, closed. */
static const char *make_store(void) {
    const char *path = place("pool.db");
    pm_store *store = open_with(path, 0);
    char name[16];
    unsigned i;
    for (i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "device-%u", i);
        add(store, name);
    }
    close_store(store);
    CHECK(unlink(with(path, "-lock")) == 0);
    return path;
}

static void a_directory(void) {
    CHECK(mkdir(place("directory"), 0700) == 0);
    refuse(place("directory"), PM_ERR_NOT_REGULAR_FILE, "directory");
    refuse_path(PM_LIT("/"), PM_ERR_NOT_REGULAR_FILE, "directory");
}

static void a_socket_a_pipe_a_device(void) {
    struct sockaddr_un address;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(fd >= 0);
    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    CHECK(strlen(place("socket")) < sizeof address.sun_path);
    strcpy(address.sun_path, place("socket"));
    CHECK(bind(fd, (struct sockaddr *)(void *)&address, sizeof address) == 0);
    refuse(place("socket"), PM_ERR_NOT_REGULAR_FILE, "socket");
    close(fd);
    /* A pipe that nobody writes to: an open that waits for a writer would hang here. */
    CHECK(mkfifo(place("pipe"), 0600) == 0);
    refuse(place("pipe"), PM_ERR_NOT_REGULAR_FILE, "pipe");
    refuse_path(PM_LIT("/dev/null"), PM_ERR_NOT_REGULAR_FILE, "device");
}

static void files_of_other_kinds(void) {
    static unsigned char zeros[100000];
    static const char text[] = "# containerd configuration\nroot = \"/var/lib\"\n";
    static const char script[] = "#!/bin/sh\n";
    refuse_bytes("", 0, PM_ERR_CORRUPT, "empty");
    refuse_bytes("x", 1, PM_ERR_NOT_A_STORE, "\"x\"");
    refuse_bytes(text, sizeof text - 1, PM_ERR_NOT_A_STORE, "# contai");
    refuse_bytes(script, sizeof script - 1, PM_ERR_NOT_A_STORE, "#!/bin/s");
    refuse_bytes(zeros, 16, PM_ERR_NOT_A_STORE, "zeros");
    refuse_bytes(zeros, sizeof zeros, PM_ERR_NOT_A_STORE, "zeros");
}

static void put_u32(unsigned char *at, uint32_t value) {
    unsigned i;
    for (i = 0; i < 4; i++) {
        at[i] = (unsigned char)(value >> 8 * i);
    }
}

static void a_bbolt_file(void) {
    static unsigned char pages[4 * 4096];
    unsigned page;
    for (page = 0; page < 2; page++) {
        unsigned char *at = pages + page * 4096;
        at[0] = (unsigned char)page;
        at[8] = 4;                      /* a meta page */
        put_u32(at + 16, 0xED0CDAEDu);  /* the magic number */
        put_u32(at + 20, 2);            /* the version */
        put_u32(at + 24, 4096);         /* the page size */
    }
    refuse_bytes(pages, sizeof pages, PM_ERR_BBOLT_FILE, "bbolt");
    /* With its first page overwritten, the second still tells. */
    memset(pages, 0x11, 4096);
    refuse_bytes(pages, sizeof pages, PM_ERR_BBOLT_FILE, "bbolt");
}

static void an_lmdb_file_of_somebody_else(void) {
    craft("foreign", place("foreign"), "a row");
    refuse_file(place("foreign"), PM_ERR_FOREIGN_LMDB, "another program");
    /* One that happens to call a row as this library calls its own. */
    craft("foreign", place("similar"), "header");
    refuse_file(place("similar"), PM_ERR_FOREIGN_LMDB, "another program");
}

static void a_store_of_another_format(void) {
    const char *path = make_store();
    craft("format", path, "2");
    refuse_file(path, PM_ERR_NEWER_FORMAT, "format 2");
    craft("format", path, "65535");
    refuse_file(path, PM_ERR_NEWER_FORMAT, "65535");
    craft("format", path, "0");
    refuse_file(path, PM_ERR_CORRUPT, "header");
    craft("format", path, "1");
    close_store(open_with(path, 0));
}

/* Whoever takes the name for a text would take the device for another one. */
static void a_store_with_a_nul_in_a_name(void) {
    pm_options options = PM_OPTIONS_INIT;
    pm_store *store = open_new("pool.db");
    pm_device *device = NULL;
    pm_names *names = NULL;
    add(store, "base");
    close_store(store);
    craft("nul-name", place("pool.db"), "base");
    FAILS(PM_ERR_CORRUPT, pm_open(PM_CSTR(place("pool.db")), NULL, &store, why()));
    CHECK(strstr(told()->message, "base\\x00x") != NULL);
    options.verify = PM_VERIFY_NONE;
    OK(pm_open(PM_CSTR(place("pool.db")), &options, &store, why()));
    /* Without a look at the rows, the length tells what the text does not. */
    FAILS(PM_ERR_NOT_FOUND, pm_get_device(store, PM_LIT("base"), &device, why()));
    OK(pm_get_device(store, PM_LIT("base\0x"), &device, why()));
    CHECK_TEXT("base\0x", device->name, device->name_len);
    pm_free(device);
    OK(pm_get_device_names(store, &names, why()));
    CHECK(names->count == 1 && names->names[0].name_len == 6);
    pm_free(names);
    FAILS(PM_ERR_CORRUPT, pm_verify(store, why()));
    OK(pm_close(store, why()));
}

static void a_store_that_lacks_a_table(void) {
    const char *path = make_store();
    craft("drop-table", path, "ids");
    refuse_file(path, PM_ERR_CORRUPT, "ids");
    CHECK(unlink(path) == 0);
    make_store();
    craft("drop-table", path, "devices");
    refuse_file(path, PM_ERR_CORRUPT, "devices");
    CHECK(unlink(path) == 0);
    make_store();
    craft("plain-table", path, "devices");
    refuse_file(path, PM_ERR_CORRUPT, "devices");
}

static void a_store_that_is_cut_short(void) {
    const char *path = make_store();
    size_t len = 0;
    unsigned char *bytes = read_file(path, &len);
    size_t cut[] = { 1, 15, 100, 151, 4095, 4096, 4200, 8191, 8192, 12288, 20000 };
    size_t i;
    for (i = 0; i < COUNT(cut); i++) {
        const char *word = cut[i] < 20 ? "" : "cut short";
        /* What is left of a magic number need not tell whose it was. */
        refuse_bytes(bytes, cut[i], cut[i] < 20 ? PM_ERR_NOT_A_STORE : PM_ERR_CORRUPT, cut[i] < 152 ? word : "");
    }
    /* Room ahead of the last page may be cut off without a loss. */
    write_file(path, bytes, len);
    free(bytes);
    close_store(open_with(path, 0));
}

static void a_store_that_is_overwritten(void) {
    const char *path = make_store();
    size_t len = 0;
    unsigned char *bytes = read_file(path, &len);
    unsigned char *copy = malloc(len);
    CHECK(copy != NULL);
    memcpy(copy, bytes, len);
    memset(copy, 0xff, 4096);
    refuse_bytes(copy, len, PM_ERR_CORRUPT, "first meta page");
    memcpy(copy, bytes, len);
    memset(copy + 4096, 0, 4096);
    refuse_bytes(copy, len, PM_ERR_CORRUPT, "second meta page");
    memcpy(copy, bytes, len);
    memset(copy + 8192, 0x5a, len - 8192);
    refuse_bytes(copy, len, PM_ERR_CORRUPT, "page");
    damage(path, "poolmeta");
    refuse_file(path, PM_ERR_FOREIGN_LMDB, "another program");
    free(copy);
    free(bytes);
}

static void paths_that_cannot_be(void) {
    char path[5000];
    size_t len;
    refuse_path(PM_LIT(""), PM_ERR_INVALID_PATH, "empty");
    refuse_path(NULL, 0, PM_ERR_INVALID_PATH, "empty");
    refuse_path("a\0b", 3, PM_ERR_INVALID_PATH, "NUL");
    len = (size_t)snprintf(path, sizeof path, "%s/", place("directory"));
    refuse_path(path, len, PM_ERR_INVALID_PATH, "slash");
    /* One name that is too long; and many that are too many. */
    memset(path + len - 1, 'x', 300);
    refuse_path(path, len + 299, PM_ERR_INVALID_PATH, "longer than the system allows");
    memset(path, '/', sizeof path);
    refuse_path(path, sizeof path, PM_ERR_INVALID_PATH, "longer than the system allows");
    for (len = 1; len < sizeof path; len += 2) {
        path[len] = '.';
    }
    refuse_path(path, sizeof path, PM_ERR_INVALID_PATH, "longer than the system allows");
    write_file(place("file"), "x", 1);
    refuse(place("file/pool.db"), PM_ERR_INVALID_PATH, "directory");
    refuse(place("none/pool.db"), PM_ERR_NO_SUCH_FILE, "directory");
}

static void links(void) {
    const char *path = place("pool.db");
    CHECK(symlink(place("nowhere"), place("dangling")) == 0);
    refuse(place("dangling"), PM_ERR_INVALID_PATH, "symbolic link");
    CHECK(access(place("nowhere"), F_OK) != 0);
    CHECK(symlink(place("loop"), place("loop")) == 0);
    refuse(place("loop"), PM_ERR_INVALID_PATH, "symbolic links");
    make_store();
    CHECK(symlink(path, place("good")) == 0);
    close_store(open_with(place("good"), 0));
    /* The lock file is the file's own, not the link's. */
    CHECK(access(with(path, "-lock"), F_OK) == 0 && access(place("good-lock"), F_OK) != 0);
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

static void try_without_permission(void) {
    pm_store *store = UNTOUCHED;
    pm_options options = PM_OPTIONS_INIT;
    const char *path = place("secret.db");
    FAILS(PM_ERR_PERMISSION, pm_open(PM_CSTR(path), NULL, &store, why()));
    CHECK(strstr(told()->message, path) != NULL);
    CHECK_INT(EACCES, told()->os_error);
    options.flags = PM_OPEN_READ_ONLY;
    FAILS(PM_ERR_PERMISSION, pm_open(PM_CSTR(path), &options, &store, why()));
    FAILS(PM_ERR_PERMISSION, pm_open(PM_CSTR(place("readable.db")), NULL, &store, why()));
    FAILS(PM_ERR_PERMISSION, pm_open(PM_CSTR(place("closed/new.db")), NULL, &store, why()));
    FAILS(PM_ERR_PERMISSION, pm_open(PM_CSTR(place("hidden/pool.db")), NULL, &store, why()));
    CHECK(store == UNTOUCHED);
}

static void no_permission(void) {
    static const char *const names[] = { "secret.db", "readable.db" };
    size_t lens[2];
    unsigned char *bytes[2];
    size_t i;
    for (i = 0; i < 2; i++) {
        close_store(open_with(place(names[i]), 0));
        bytes[i] = read_file(place(names[i]), &lens[i]);
    }
    CHECK(chmod(place("secret.db"), 0000) == 0 && chmod(place("readable.db"), 0444) == 0);
    CHECK(mkdir(place("closed"), 0555) == 0 && mkdir(place("hidden"), 0000) == 0);
    unprivileged(try_without_permission);
    CHECK(chmod(place("secret.db"), 0600) == 0 && chmod(place("hidden"), 0700) == 0);
    for (i = 0; i < 2; i++) {
        check_file(place(names[i]), bytes[i], lens[i]);
        free(bytes[i]);
    }
}

static const struct test tests[] = {
    NAMED(a_directory),
    NAMED(a_socket_a_pipe_a_device),
    NAMED(files_of_other_kinds),
    NAMED(a_bbolt_file),
    NAMED(an_lmdb_file_of_somebody_else),
    NAMED(a_store_of_another_format),
    NAMED(a_store_with_a_nul_in_a_name),
    NAMED(a_store_that_lacks_a_table),
    NAMED(a_store_that_is_cut_short),
    NAMED(a_store_that_is_overwritten),
    NAMED(paths_that_cannot_be),
    NAMED(links),
    NAMED(no_permission),
};
TEST_MAIN(tests)
