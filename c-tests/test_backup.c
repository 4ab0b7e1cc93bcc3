/*
 * Backups and restores as C sees them: flags, paths, the block with the kept file's name. What the
 * operations mean is in tests/meaning/backup.rs and tests/meaning/restore.rs.
 */
#include "test.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

static pm_store *store;

static int exists(const char *path) {
    return access(path, F_OK) == 0;
}

static void open_pool(void) {
    static char text[50000];
    pm_device device = device_named("long");
    store = open_new("pool.db");
    add(store, "base");
    memset(text, 'e', sizeof text);
    device.error = text;
    device.error_len = sizeof text;
    OK(pm_add_device(store, &device, why()));
}

static void backup_is_written_with_every_flag(void) {
    static const uint32_t flags[] = { 0, PM_BACKUP_COMPACT, PM_BACKUP_UNCHECKED,
                                      PM_BACKUP_OVERWRITE | PM_BACKUP_COMPACT };
    const char *path = place("copy.db");
    size_t i;
    open_pool();
    for (i = 0; i < COUNT(flags); i++) {
        pm_store *copy;
        OK(pm_backup(store, PM_CSTR(path), flags[i], why()));
        copy = open_with(path, 0);
        CHECK_INT(PM_STATE_ACTIVATED, state_of(copy, "base"));
        CHECK_INT(2, device_count(copy));
        close_store(copy);
        if (i + 2 < COUNT(flags)) {
            CHECK(unlink(path) == 0);
        }
    }
    close_store(store);
}

static void backup_that_cannot_be_is_refused(void) {
    const char *copy = place("copy.db");
    open_pool();
    OK(pm_backup(store, PM_CSTR(copy), 0, why()));
    FAILS(PM_ERR_FILE_EXISTS, pm_backup(store, PM_CSTR(copy), 0, why()));
    CHECK(strstr(told()->message, copy) != NULL);
    FAILS(PM_ERR_NO_SUCH_FILE, pm_backup(store, PM_CSTR(place("no/where")), 0, why()));
    CHECK_INT(ENOENT, told()->os_error);
    FAILS(PM_ERR_INVALID_PATH, pm_backup(store, NULL, 0, 0, why()));
    FAILS(PM_ERR_INVALID_PATH, pm_backup(store, PM_LIT("a\0b"), 0, why()));
    FAILS(PM_ERR_INVALID_ARGUMENT, pm_backup(store, PM_CSTR(place("new")), 8, why()));
    FAILS(PM_ERR_INVALID_ARGUMENT, pm_backup(store, PM_CSTR(place("new")), UINT32_MAX, why()));
    CHECK(!exists(place("new")));
    close_store(store);
}

static void restore_hands_out_the_name_of_the_kept_file(void) {
    const char *copy = place("copy.db");
    const char *path = place("pool.db");
    const char *before = place("pool.db.before-restore");
    pm_name *kept = UNTOUCHED;
    uint64_t longer = 0, shorter = 0;
    open_pool();
    OK(pm_backup(store, PM_CSTR(copy), 0, why()));
    FAILS(PM_ERR_ALREADY_OPEN, pm_restore(PM_CSTR(copy), PM_CSTR(path), NULL, &kept, why()));
    CHECK(kept == UNTOUCHED);
    close_store(store);
    OK(pm_restore(PM_CSTR(copy), PM_CSTR(path), NULL, &kept, why()));
    CHECK_BYTES(before, strlen(before) + 1, kept->name, kept->name_len + 1);
    pm_free(kept);
    close_store(open_with(before, 0));
    /* If there was no file, none is kept. The caller may pass NULL. */
    kept = UNTOUCHED;
    OK(pm_restore(PM_CSTR(copy), PM_CSTR(place("new.db")), NULL, &kept, why()));
    CHECK(kept == NULL);
    OK(pm_restore(PM_CSTR(copy), PM_CSTR(place("new.db")), NULL, NULL, why()));
    OK(pm_compact(PM_CSTR(place("new.db")), NULL, &longer, &shorter, why()));
    CHECK(longer >= shorter && shorter > 0);
    OK(pm_compact(PM_CSTR(place("new.db")), NULL, NULL, NULL, why()));
    CHECK(exists(place("new.db.before-restore")));
}

static void restore_with_arguments_that_cannot_be_is_refused(void) {
    const char *copy = place("copy.db");
    pm_options bad = PM_OPTIONS_INIT;
    open_pool();
    OK(pm_backup(store, PM_CSTR(copy), 0, why()));
    close_store(store);
    FAILS(PM_ERR_INVALID_PATH, pm_restore(PM_CSTR(copy), NULL, 0, NULL, NULL, why()));
    FAILS(PM_ERR_INVALID_ARGUMENT, pm_restore(NULL, 1, PM_CSTR(copy), NULL, NULL, why()));
    FAILS(PM_ERR_INVALID_ARGUMENT, pm_restore(PM_CSTR(copy), NULL, 1, NULL, NULL, why()));
    bad.struct_size = 8;
    FAILS(PM_ERR_STRUCT_SIZE,
          pm_restore(PM_CSTR(copy), PM_CSTR(place("new.db")), &bad, NULL, why()));
    CHECK(!exists(place("new.db")));
}

static const struct test tests[] = {
    NAMED(backup_is_written_with_every_flag),
    NAMED(backup_that_cannot_be_is_refused),
    NAMED(restore_hands_out_the_name_of_the_kept_file),
    NAMED(restore_with_arguments_that_cannot_be_is_refused),
};
TEST_MAIN(tests)
