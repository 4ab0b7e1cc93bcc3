/*
 * Every single system call fails, as in test_every_call.c, of the operations that make whole files:
 * backups, restores, repairs, salvages.
 *
 * The operation that is hit reports that; the file that it reads is unchanged, its destination
 * holds what it held before or the whole new store, nothing else is left, and the next try
 * succeeds.
 */
#include "test.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "strikes.h"

#define DEVICES 40

enum operation { BACKUP, COMPACT, OVERWRITE, RESTORE, RESTORE_NEW, REPAIR, SALVAGE };
#define OPERATIONS (SALVAGE + 1)

struct file {
    unsigned char *bytes;
    size_t len;
};

static enum operation operation;
/* An older store of one device, the store, and it with an id too many and with a damaged record. */
static struct file old_file, sound, unfixed, damaged;
static pm_store *store;

static const char *target_name(void) {
    switch (operation) {
        case BACKUP:
        case COMPACT:
        case OVERWRITE:
            return place("backup.db");
        case RESTORE_NEW:
        case SALVAGE:
            return place("new.db");
        default:
            return place("pool.db");
    }
}

static int exists(const char *path) {
    return access(path, F_OK) == 0;
}

static struct file take_file(const char *path) {
    struct file file;
    file.bytes = read_file(path, &file.len);
    return file;
}

static void make_files(void) {
    const char *path = place("pool.db");
    pm_device broken = device_named("broken");
    char name[32];
    unsigned i;
    store = open_new("pool.db");
    add(store, "old");
    OK(pm_backup(store, PM_CSTR(place("old.db")), 0, why()));
    old_file = take_file(place("old.db"));
    for (i = 1; i < DEVICES - 1; i++) {
        snprintf(name, sizeof name, "device-%02u", i);
        add(store, name);
    }
    broken.error = "what happened";
    broken.error_len = strlen(broken.error);
    OK(pm_add_device(store, &broken, why()));
    close_store(store);
    sound = take_file(path);
    craft("last-id", path, "90");
    unfixed = take_file(path);
    write_file(path, sound.bytes, sound.len);
    damage(path, "what happened");
    damaged = take_file(path);
}

static void put(const char *path, const struct file *file) {
    write_file(path, file->bytes, file->len);
}

/* How many temporary files there are; removes them if asked to. */
static unsigned temporary_files(int and_remove) {
    static const char *const suffixes[] = {".partial-", ".restoring-", ".salvaging-"};
    DIR *directory = opendir(place("."));
    struct dirent *entry;
    unsigned count = 0;
    size_t i;
    CHECK(directory != NULL);
    while ((entry = readdir(directory)) != NULL) {
        for (i = 0; i < COUNT(suffixes); i++) {
            if (strstr(entry->d_name, suffixes[i]) != NULL) {
                count++;
                if (and_remove) {
                    CHECK(unlink(place(entry->d_name)) == 0);
                }
            }
        }
    }
    closedir(directory);
    return count;
}

static void remove_files(void) {
    static const char *const files[] = {"pool.db",
                                        "backup.db",
                                        "new.db",
                                        "pool.db.before-repair-1",
                                        "pool.db.before-restore",
                                        "old.db"};
    char lock[4096];
    size_t i;
    for (i = 0; i < COUNT(files); i++) {
        snprintf(lock, sizeof lock, "%s-lock", place(files[i]));
        unlink(place(files[i]));
        unlink(lock);
    }
    temporary_files(1);
}

/* What there is before the operation. */
static void lay_out(void) {
    remove_files();
    put(place("pool.db"),
        operation == REPAIR ? &unfixed : operation == SALVAGE ? &damaged : &sound);
    store = NULL;
    switch (operation) {
        case BACKUP:
        case COMPACT:
        case OVERWRITE:
            if (operation == OVERWRITE) {
                put(place("backup.db"), &old_file);
            }
            store = open_with(place("pool.db"), 0);
            break;
        case RESTORE:
            put(place("pool.db"), &old_file);
            put(place("backup.db"), &sound);
            break;
        case RESTORE_NEW:
            put(place("backup.db"), &sound);
            break;
        case REPAIR:
        case SALVAGE:
            break;
    }
}

static int32_t perform(pm_error *error) {
    const char *pool = place("pool.db");
    const char *target = target_name();
    pm_report *report = NULL;
    int32_t status;
    switch (operation) {
        case BACKUP:
            return pm_backup(store, PM_CSTR(target), 0, error);
        case COMPACT:
            return pm_backup(store, PM_CSTR(target), PM_BACKUP_COMPACT, error);
        case OVERWRITE:
            return pm_backup(store, PM_CSTR(target), PM_BACKUP_OVERWRITE, error);
        case RESTORE:
        case RESTORE_NEW:
            return pm_restore(PM_CSTR(place("backup.db")), PM_CSTR(target), NULL, NULL, NULL,
                              error);
        case REPAIR:
            status = pm_repair(PM_CSTR(pool), NULL, &report, error);
            pm_free(report);
            return status;
        case SALVAGE:
            return pm_salvage(PM_CSTR(pool), PM_CSTR(target), NULL, 0, NULL, NULL, error);
    }
    return PM_ERR_INTERNAL;
}

/* How many devices the store there has; opening verifies it. */
static uint64_t devices_at(const char *path) {
    pm_store *found = open_with(path, 0);
    uint64_t count = device_count(found);
    close_store(found);
    return count;
}

static void check_source(void) {
    switch (operation) {
        case SALVAGE:
            check_file(place("pool.db"), damaged.bytes, damaged.len);
            break;
        case RESTORE:
        case RESTORE_NEW:
            check_file(place("backup.db"), sound.bytes, sound.len);
            break;
        case REPAIR:
            break;
        default:
            CHECK_INT(DEVICES, device_count(store));
            check_store(store);
    }
}

/* The whole new store is there, and where it took the place of another one, that one. */
static void check_done(void) {
    CHECK_INT(operation == SALVAGE ? DEVICES - 1 : DEVICES, devices_at(target_name()));
    if (operation == RESTORE) {
        CHECK_INT(1, devices_at(place("pool.db.before-restore")));
    }
    if (operation == REPAIR) {
        check_file(place("pool.db.before-repair-1"), unfixed.bytes, unfixed.len);
    }
}

static int is_fixed(void) {
    pm_report *report = NULL;
    uint64_t total;
    OK(pm_check_file(PM_CSTR(place("pool.db")), NULL, 0, &report, why()));
    total = report->total;
    pm_free(report);
    return total == 0;
}

/* Whether an operation that failed has put its whole file in place; else all is as it was. */
static int is_done(void) {
    uint64_t count;
    if (operation == REPAIR) {
        return is_fixed();
    }
    if (!exists(target_name())) {
        CHECK(operation != OVERWRITE && operation != RESTORE);
        return 0;
    }
    count = devices_at(target_name());
    CHECK(count != 1 || operation == OVERWRITE || operation == RESTORE);
    return count != 1;
}

/* No temporary file is left, except if it could not be removed. The next try removes that. */
static void check_nothing_left(const struct fault *fault) {
    CHECK(fault->kind == FAULT_NAME || temporary_files(0) == 0);
}

static void try_again(void) {
    if (operation == REPAIR && exists(place("pool.db.before-repair-1"))) {
        check_file(place("pool.db.before-repair-1"), unfixed.bytes, unfixed.len);
    }
    OK(perform(why()));
    check_source();
    check_done();
}

static int work(const struct fault *fault, unsigned k, unsigned count, unsigned *refused) {
    pm_error error = PM_ERROR_INIT;
    int32_t status;
    unsigned hits;
    lay_out();
    fault_after(fault->kind, k, count, fault->error);
    status = perform(&error);
    hits = fault_end(fault->kind);
    check_nothing_left(fault);
    check_source();
    if (status == PM_OK && operation == SALVAGE && fault->kind == FAULT_READ) {
        /* What cannot be read is lost, but for what is on another page as well. */
        CHECK(devices_at(target_name()) < DEVICES);
    } else if (status == PM_OK) {
        check_done();
    } else {
        if (hits == 0) {
            fail(__FILE__, __LINE__, "operation %d: %s", (int)operation, error.message);
        }
        check_told(&error, status, fault, place(""));
        (*refused)++;
        if (is_done()) {
            check_done();
        } else {
            try_again();
        }
    }
    if (store != NULL) {
        close_store(store);
    }
    return hits > 0;
}

static void strike_each(enum fault_kind kind, int error) {
    unsigned i;
    fault_below(place(""));
    make_files();
    for (i = 0; i < OPERATIONS; i++) {
        operation = (enum operation)i;
        strike(work, kind, error, 1);
    }
    remove_files();
    free(old_file.bytes);
    free(sound.bytes);
    free(unfixed.bytes);
    free(damaged.bytes);
}

static void writes(void) {
    strike_each(FAULT_WRITE, EIO);
    strike_each(FAULT_WRITE, ENOSPC);
}

static void flushes(void) {
    strike_each(FAULT_SYNC, EIO);
}

static void opens(void) {
    strike_each(FAULT_OPEN, EMFILE);
}

static void looks_at_files(void) {
    strike_each(FAULT_STAT, EIO);
}

static void locks(void) {
    strike_each(FAULT_LOCK, ENOLCK);
}

static void reads(void) {
    strike_each(FAULT_READ, EIO);
}

static void names_and_rights(void) {
    strike_each(FAULT_NAME, EIO);
}

#ifndef PM_TEST_OTHER_MALLOC
static void no_memory(void) {
    fault_memory_of_lmdb();
    strike_each(FAULT_MEMORY, ENOMEM);
}
#endif

static const struct test tests[] = {
    NAMED(writes),
    NAMED(flushes),
    NAMED(opens),
    NAMED(looks_at_files),
    NAMED(locks),
    NAMED(reads),
    NAMED(names_and_rights),
#ifndef PM_TEST_OTHER_MALLOC
    NAMED(no_memory),
#endif
};
TEST_MAIN(tests)
