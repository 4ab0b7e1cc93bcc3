/* Backups made while the store is in use, and put back. */
#include "test.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static pm_store *store;

static int exists(const char *path) {
    return access(path, F_OK) == 0;
}

static void open_pool(void) {
    pm_device device = device_named("long");
    static char text[50000];
    unsigned i;
    char name[32];
    store = open_new("pool.db");
    for (i = 0; i < 60; i++) {
        snprintf(name, sizeof name, "device-%02u", i);
        add(store, name);
    }
    OK(pm_mark_faulty(store, PM_LIT("device-08"), why()));
    memset(text, 'e', sizeof text);
    device.error = text;
    device.error_len = sizeof text;
    OK(pm_add_device(store, &device, why()));
    device = device_named("broken");
    device.error = "what happened";
    device.error_len = strlen(device.error);
    OK(pm_add_device(store, &device, why()));
    OK(pm_remove_device(store, PM_LIT("device-07"), why()));
}

/* Both stores tell the same of devices, generations and ids. */
static void check_same_store(pm_store *a, pm_store *b) {
    pm_stats stats[2] = { PM_STATS_INIT, PM_STATS_INIT };
    static uint64_t pages[2][16384];
    size_t counts[2] = { 0, 0 };
    pm_store *both[2];
    size_t i;
    both[0] = a;
    both[1] = b;
    for (i = 0; i < 2; i++) {
        pm_walk *walk = NULL;
        memset(pages[i], 0, sizeof pages[i]);
        OK(pm_walk_open(both[i], &walk, why()));
        OK(pm_walk_next(walk, pages[i], sizeof pages[i], &counts[i], NULL, why()));
        pm_walk_close(walk);
        OK(pm_get_stats(both[i], &stats[i], why()));
    }
    CHECK_INT(counts[0], counts[1]);
    CHECK_BYTES(pages[0], sizeof pages[0], pages[1], sizeof pages[1]);
    CHECK(stats[0].devices == counts[0] && stats[1].devices == counts[0]);
    CHECK(stats[0].last_id == stats[1].last_id && stats[0].commits == stats[1].commits);
    CHECK(stats[0].free_ids == stats[1].free_ids && stats[0].faulty_ids == stats[1].faulty_ids);
}

static void a_backup_is_a_store_with_the_same_contents(void) {
    static const uint32_t flags[] = { 0, PM_BACKUP_COMPACT, PM_BACKUP_UNCHECKED,
                                      PM_BACKUP_COMPACT | PM_BACKUP_UNCHECKED };
    size_t i;
    open_pool();
    for (i = 0; i < COUNT(flags); i++) {
        const char *path = place("copy.db");
        pm_store *copy;
        struct stat facts;
        OK(pm_backup(store, PM_CSTR(path), flags[i], why()));
        CHECK(stat(path, &facts) == 0 && (facts.st_mode & 07777) == 0600);
        CHECK(!exists(place("copy.db.partial")) && !exists(place("copy.db-lock")));
        copy = open_with(path, 0);
        check_same_store(store, copy);
        CHECK_INT(8, add(copy, "next")); /* the id of device-07 */
        close_store(copy);
        CHECK(unlink(path) == 0);
    }
    close_store(store);
}

static void what_is_there_stays_unless_it_is_to_be_replaced(void) {
    const char *copy = place("copy.db");
    const char *text = place("text");
    pm_store *other;
    open_pool();
    OK(pm_backup(store, PM_CSTR(copy), 0, why()));
    FAILS(PM_ERR_FILE_EXISTS, pm_backup(store, PM_CSTR(copy), 0, why()));
    CHECK(strstr(told()->message, copy) != NULL);
    OK(pm_backup(store, PM_CSTR(copy), PM_BACKUP_OVERWRITE, why()));
    other = open_with(copy, 0);
    FAILS(PM_ERR_ALREADY_OPEN, pm_backup(store, PM_CSTR(copy), PM_BACKUP_OVERWRITE, why()));
    FAILS(PM_ERR_FILE_EXISTS, pm_backup(store, PM_CSTR(copy), 0, why()));
    close_store(other);
    FAILS(PM_ERR_FILE_EXISTS, pm_backup(store, PM_CSTR(place("pool.db")), 0, why()));
    FAILS(PM_ERR_ALREADY_OPEN, pm_backup(store, PM_CSTR(place("pool.db")), PM_BACKUP_OVERWRITE, why()));
    write_file(text, "some text of somebody's", 23);
    FAILS(PM_ERR_NOT_A_STORE, pm_backup(store, PM_CSTR(text), PM_BACKUP_OVERWRITE, why()));
    check_file(text, "some text of somebody's", 23);
    FAILS(PM_ERR_NO_SUCH_FILE, pm_backup(store, PM_CSTR(place("no/where")), 0, why()));
    CHECK_INT(ENOENT, told()->os_error);
    FAILS(PM_ERR_INVALID_PATH, pm_backup(store, NULL, 0, 0, why()));
    FAILS(PM_ERR_INVALID_PATH, pm_backup(store, PM_LIT("a\0b"), 0, why()));
    FAILS(PM_ERR_INVALID_ARGUMENT, pm_backup(store, PM_CSTR(place("new")), 8, why()));
    FAILS(PM_ERR_INVALID_ARGUMENT, pm_backup(store, PM_CSTR(place("new")), UINT32_MAX, why()));
    CHECK(!exists(place("new")));
    close_store(store);
}

static void a_damaged_store_is_backed_up_only_unchecked(void) {
    pm_options options = PM_OPTIONS_INIT;
    const char *copy = place("copy.db");
    open_pool();
    close_store(store);
    damage(place("pool.db"), "what happened");
    options.verify = PM_VERIFY_NONE;
    OK(pm_open(PM_CSTR(place("pool.db")), &options, &store, why()));
    FAILS(PM_ERR_CORRUPT, pm_backup(store, PM_CSTR(copy), 0, why()));
    CHECK(strstr(told()->message, place("pool.db")) != NULL && !exists(copy));
    OK(pm_backup(store, PM_CSTR(copy), PM_BACKUP_UNCHECKED, why()));
    OK(pm_close(store, why()));
    FAILS(PM_ERR_CORRUPT, pm_open(PM_CSTR(copy), NULL, &store, why()));
    /* And such a backup is not put back. */
    FAILS(PM_ERR_CORRUPT, pm_restore(PM_CSTR(copy), PM_CSTR(place("new.db")), NULL, NULL, why()));
    CHECK(strstr(told()->message, copy) != NULL && !exists(place("new.db")));
}

static void a_backup_takes_the_place_of_the_store(void) {
    const char *copy = place("copy.db");
    pm_name *kept = UNTOUCHED;
    pm_store *old = NULL;
    open_pool();
    OK(pm_backup(store, PM_CSTR(copy), 0, why()));
    add(store, "since");
    /* Not while one of the two is open. */
    FAILS(PM_ERR_ALREADY_OPEN, pm_restore(PM_CSTR(copy), PM_CSTR(place("pool.db")), NULL, &kept, why()));
    FAILS(PM_ERR_ALREADY_OPEN, pm_restore(PM_CSTR(place("pool.db")), PM_CSTR(place("new.db")), NULL, &kept, why()));
    CHECK(kept == UNTOUCHED);
    close_store(store);
    OK(pm_restore(PM_CSTR(copy), PM_CSTR(place("pool.db")), NULL, &kept, why()));
    CHECK_BYTES(place("pool.db.before-restore"), strlen(place("pool.db.before-restore")), kept->name, kept->name_len);
    CHECK_INT(0, kept->name[kept->name_len]);
    store = open_with(place("pool.db"), 0);
    FAILS(PM_ERR_NOT_FOUND, pm_mark_faulty(store, PM_LIT("since"), why()));
    old = open_with(kept->name, 0);
    CHECK_INT(PM_STATE_ACTIVATED, state_of(old, "since"));
    close_store(old);
    pm_free(kept);
    close_store(store);
    /* Where nothing was, nothing is kept; and who does not ask is not told. */
    kept = UNTOUCHED;
    OK(pm_restore(PM_CSTR(copy), PM_CSTR(place("new.db")), NULL, &kept, why()));
    CHECK(kept == NULL);
    OK(pm_restore(PM_CSTR(copy), PM_CSTR(place("new.db")), NULL, NULL, why()));
    CHECK(exists(place("new.db.before-restore")));
}

static void what_is_no_store_is_neither_put_back_nor_replaced(void) {
    const char *copy = place("copy.db");
    const char *text = place("text");
    pm_options bad = PM_OPTIONS_INIT;
    open_pool();
    OK(pm_backup(store, PM_CSTR(copy), 0, why()));
    close_store(store);
    write_file(text, "some text of somebody's", 23);
    FAILS(PM_ERR_NOT_A_STORE, pm_restore(PM_CSTR(text), PM_CSTR(place("pool.db")), NULL, NULL, why()));
    FAILS(PM_ERR_NOT_A_STORE, pm_restore(PM_CSTR(copy), PM_CSTR(text), NULL, NULL, why()));
    FAILS(PM_ERR_NO_SUCH_FILE, pm_restore(PM_CSTR(place("none")), PM_CSTR(place("pool.db")), NULL, NULL, why()));
    FAILS(PM_ERR_NO_SUCH_FILE, pm_restore(PM_CSTR(copy), PM_CSTR(place("no/where")), NULL, NULL, why()));
    FAILS(PM_ERR_INVALID_PATH, pm_restore(PM_CSTR(copy), NULL, 0, NULL, NULL, why()));
    FAILS(PM_ERR_INVALID_ARGUMENT, pm_restore(NULL, 1, PM_CSTR(copy), NULL, NULL, why()));
    FAILS(PM_ERR_INVALID_ARGUMENT, pm_restore(PM_CSTR(copy), NULL, 1, NULL, NULL, why()));
    bad.struct_size = 8;
    FAILS(PM_ERR_STRUCT_SIZE, pm_restore(PM_CSTR(copy), PM_CSTR(place("new.db")), &bad, NULL, why()));
    check_file(text, "some text of somebody's", 23);
    store = open_with(place("pool.db"), 0);
    close_store(store);
    CHECK(!exists(place("new.db")) && !exists(place("pool.db.before-restore")));
}

static const struct test tests[] = {
    NAMED(a_backup_is_a_store_with_the_same_contents),
    NAMED(what_is_there_stays_unless_it_is_to_be_replaced),
    NAMED(a_damaged_store_is_backed_up_only_unchecked),
    NAMED(a_backup_takes_the_place_of_the_store),
    NAMED(what_is_no_store_is_neither_put_back_nor_replaced),
};
TEST_MAIN(tests)
