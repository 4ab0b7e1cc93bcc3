/*
 * File systems, kernels and sandboxes that lack something, with each error that such a call gives:
 * a day's work goes on without it, or is refused with a message that says what is missing, and
 * leaves nothing behind.
 */
#include "test.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "faults.h"

#define FOR_EVER 1000000u
/* The kernel's own number, which some file systems let through to programs. */
#define ENOTSUPP 524

struct lack {
    enum fault_kind kind;
    /* Part of the message; NULL if the work goes on without it. */
    const char *what;
    int errors[6];
};

/* What has no number here is said by no kernel. */
static const struct lack lacks[] = {
    { FAULT_OFD, "F_OFD_SETLK", { EINVAL, ENOSYS, EOPNOTSUPP, ENOTSUPP, 0 } },
    { FAULT_FLOCK, "flock", { EINVAL, ENOSYS, EOPNOTSUPP, ENOTSUPP, 0 } },
    { FAULT_FOLDER, "flushes of directories", { EINVAL, ENOSYS, EOPNOTSUPP, 0 } },
    { FAULT_MODE, "chmod", { EPERM, ENOSYS, EOPNOTSUPP, 0 } },
    { FAULT_SHARED, "mmap", { ENODEV, EINVAL, ENOSYS, EOPNOTSUPP, 0 } },
    { FAULT_NO_REPLACE, NULL, { EINVAL, ENOSYS, EOPNOTSUPP, EPERM, 0 } },
    { FAULT_BLOCKS, NULL, { EOPNOTSUPP, ENOSYS, EINVAL, EPERM, ENODEV, 0 } },
    { FAULT_LINK, NULL, { EPERM, EOPNOTSUPP, ENOSYS, EINVAL, 0 } },
};

static unsigned files_in(const char *directory) {
    unsigned count = 0;
    DIR *listed = opendir(directory);
    struct dirent *entry;
    CHECK(listed != NULL);
    while ((entry = readdir(listed)) != NULL) {
        count += entry->d_name[0] != '.';
    }
    closedir(listed);
    return count;
}

/* Creates, writes, backs up and closes a store; or what opening it is refused with. */
static int32_t work(const char *path, const char *copy, pm_error *error) {
    pm_store *store = NULL;
    pm_device device = device_named("base");
    int32_t status = pm_open(PM_CSTR(path), NULL, &store, error);
    if (status != PM_OK) {
        CHECK(store == NULL);
        return status;
    }
    OK(pm_add_device(store, &device, why()));
    OK(pm_backup(store, PM_CSTR(copy), 0, why()));
    check_store(store);
    close_store(store);
    return PM_OK;
}

/* The message says what is missing, and where. */
static void check_said(const char *what, int error) {
    const pm_error *said = told();
    CHECK_INT(error, said->os_error);
    if (strstr(said->message, what) == NULL || strstr(said->message, place("")) == NULL) {
        fail(__FILE__, __LINE__, "%s, error %d: %s", what, error, said->message);
    }
}

static void forget(const char *path) {
    CHECK(unlink(path) == 0);
}

static void what_is_missing_is_done_without_or_named(void) {
    size_t i;
    size_t k;
    for (i = 0; i < COUNT(lacks); i++) {
        for (k = 0; lacks[i].errors[k] != 0; k++) {
            const struct lack *lack = &lacks[i];
            const char *path = place("pool.db");
            const char *copy = place("copy.db");
            fault_after(lack->kind, 0, FOR_EVER, lack->errors[k]);
            if (lack->what == NULL) {
                OK(work(path, copy, why()));
                forget(path);
                forget(place("pool.db-lock"));
                forget(copy);
            } else {
                FAILS(PM_ERR_UNSUPPORTED, work(path, copy, why()));
                check_said(lack->what, lack->errors[k]);
            }
            /* A link is needed only where there is no such rename, or an old file is kept. */
            CHECK(fault_end(lack->kind) > 0 || lack->kind == FAULT_LINK);
            CHECK_INT(0, files_in(place("")));
        }
    }
}

/* A store that is there, whose file system lacks something: it is refused and stays as it was. */
static void store_is_refused_unchanged_where_something_is_missing(void) {
    static const enum fault_kind kinds[] = { FAULT_OFD, FAULT_FLOCK, FAULT_SHARED };
    const char *path = place("pool.db");
    unsigned char *before;
    size_t len;
    size_t i;
    pm_store *store = open_with(path, 0);
    add(store, "base");
    close_store(store);
    before = read_file(path, &len);
    for (i = 0; i < COUNT(kinds); i++) {
        store = UNTOUCHED;
        fault_after(kinds[i], 0, FOR_EVER, EINVAL);
        FAILS(PM_ERR_UNSUPPORTED, pm_open(PM_CSTR(path), NULL, &store, why()));
        CHECK(fault_end(kinds[i]) > 0 && store == UNTOUCHED);
        check_file(path, before, len);
    }
    free(before);
    close_store(open_with(path, 0));
}

/* What a restore keeps gets its name by a link; a new file without one is renamed. */
static void restore_needs_links_where_it_keeps_a_file(void) {
    static const int errors[] = { EPERM, EOPNOTSUPP, ENOSYS, EINVAL };
    const char *path = place("pool.db");
    const char *copy = place("copy.db");
    size_t i;
    OK(work(path, copy, why()));
    for (i = 0; i < COUNT(errors); i++) {
        pm_name *kept = UNTOUCHED;
        fault_after(FAULT_LINK, 0, FOR_EVER, errors[i]);
        FAILS(PM_ERR_UNSUPPORTED,
              pm_restore(PM_CSTR(copy), PM_CSTR(path), NULL, NULL, &kept, why()));
        check_said("hard links", errors[i]);
        CHECK(kept == UNTOUCHED);
        OK(pm_restore(PM_CSTR(copy), PM_CSTR(place("new.db")), NULL, NULL, NULL, why()));
        fault_end(FAULT_LINK);
        forget(place("new.db"));
        CHECK_INT(3, files_in(place("")));
    }
}

/* Without both, a name cannot be taken safely. */
static void file_without_a_safe_rename_is_refused(void) {
    pm_store *store = NULL;
    fault_after(FAULT_NO_REPLACE, 0, FOR_EVER, EINVAL);
    fault_after(FAULT_LINK, 0, FOR_EVER, EPERM);
    FAILS(PM_ERR_UNSUPPORTED, pm_open(PM_CSTR(place("pool.db")), NULL, &store, why()));
    CHECK(strstr(told()->message, "renameat2") != NULL);
    /* Both are forbidden: that is about rights. */
    fault_after(FAULT_NO_REPLACE, 0, FOR_EVER, EPERM);
    FAILS(PM_ERR_PERMISSION, pm_open(PM_CSTR(place("pool.db")), NULL, &store, why()));
    fault_end(FAULT_NO_REPLACE);
    fault_end(FAULT_LINK);
    CHECK_INT(0, files_in(place("")));
}

static void read_only_file_system_has_a_code_of_its_own(void) {
    const char *path = place("pool.db");
    pm_store *store = open_with(path, 0);
    add(store, "base");
    close_store(store);
    fault_below(place(""));
    fault_after(FAULT_OPEN, 0, FOR_EVER, EROFS);
    FAILS(PM_ERR_READ_ONLY_FS, pm_open(PM_CSTR(path), NULL, &store, why()));
    CHECK(fault_end(FAULT_OPEN) > 0);
    CHECK_INT(EROFS, told()->os_error);
    CHECK(strstr(told()->message, path) != NULL);
    CHECK(strstr(told()->message, "open the store read-only") != NULL);
    fault_below("");
}

static const struct test tests[] = {
    NAMED(what_is_missing_is_done_without_or_named),
    NAMED(store_is_refused_unchanged_where_something_is_missing),
    NAMED(restore_needs_links_where_it_keeps_a_file),
    NAMED(file_without_a_safe_rename_is_refused),
    NAMED(read_only_file_system_has_a_code_of_its_own),
};
TEST_MAIN(tests)
