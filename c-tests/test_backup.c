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

static void restore_says_what_is_kept_and_how_old_both_stores_are(void) {
    const char *copy = place("copy.db");
    const char *path = place("pool.db");
    const char *before = place("pool.db.before-restore");
    pm_name *kept = UNTOUCHED;
    pm_restored restored = PM_RESTORED_INIT;
    pm_stats now = PM_STATS_INIT;
    uint64_t longer = 0, shorter = 0;
    open_pool();
    OK(pm_backup(store, PM_CSTR(copy), 0, why()));
    OK(pm_get_stats(store, &now, why()));
    add(store, "since");
    FAILS(PM_ERR_ALREADY_OPEN,
          pm_restore(PM_CSTR(copy), PM_CSTR(path), NULL, &restored, &kept, why()));
    CHECK(kept == UNTOUCHED && restored.commits == 0 && restored.last_id == 0);
    close_store(store);
    OK(pm_restore(PM_CSTR(copy), PM_CSTR(path), NULL, &restored, &kept, why()));
    CHECK(restored.struct_size == sizeof restored && restored.commits == now.commits);
    CHECK(restored.last_id == 2 && restored.replaced_last_id == 3);
    CHECK(restored.replaced_commits == now.commits + 1);
    CHECK_BYTES(before, strlen(before) + 1, kept->name, kept->name_len + 1);
    pm_free(kept);
    close_store(open_with(before, 0));
    /* If there was no file, none is kept. The caller may pass NULL. */
    kept = UNTOUCHED;
    OK(pm_restore(PM_CSTR(copy), PM_CSTR(place("new.db")), NULL, &restored, &kept, why()));
    CHECK(kept == NULL && restored.replaced_commits == 0 && restored.replaced_last_id == 0);
    CHECK(restored.commits == now.commits && restored.last_id == 2);
    OK(pm_restore(PM_CSTR(copy), PM_CSTR(place("new.db")), NULL, NULL, NULL, why()));
    OK(pm_compact(PM_CSTR(place("new.db")), NULL, &longer, &shorter, why()));
    CHECK(longer >= shorter && shorter > 0);
    OK(pm_compact(PM_CSTR(place("new.db")), NULL, NULL, NULL, why()));
    CHECK(exists(place("new.db.before-restore")));
}

static void restore_with_arguments_that_cannot_be_is_refused(void) {
    const char *copy = place("copy.db");
    pm_options bad = PM_OPTIONS_INIT;
    pm_restored small = PM_RESTORED_INIT;
    open_pool();
    OK(pm_backup(store, PM_CSTR(copy), 0, why()));
    close_store(store);
    FAILS(PM_ERR_INVALID_PATH, pm_restore(PM_CSTR(copy), NULL, 0, NULL, NULL, NULL, why()));
    FAILS(PM_ERR_INVALID_ARGUMENT, pm_restore(NULL, 1, PM_CSTR(copy), NULL, NULL, NULL, why()));
    FAILS(PM_ERR_INVALID_ARGUMENT, pm_restore(PM_CSTR(copy), NULL, 1, NULL, NULL, NULL, why()));
    bad.struct_size = 8;
    FAILS(PM_ERR_STRUCT_SIZE,
          pm_restore(PM_CSTR(copy), PM_CSTR(place("new.db")), &bad, NULL, NULL, why()));
    small.struct_size--;
    FAILS(PM_ERR_STRUCT_SIZE,
          pm_restore(PM_CSTR(copy), PM_CSTR(place("new.db")), NULL, &small, NULL, why()));
    CHECK(!exists(place("new.db")));
}

static const struct test tests[] = {
    NAMED(backup_is_written_with_every_flag),
    NAMED(backup_that_cannot_be_is_refused),
    NAMED(restore_says_what_is_kept_and_how_old_both_stores_are),
    NAMED(restore_with_arguments_that_cannot_be_is_refused),
};
TEST_MAIN(tests)
