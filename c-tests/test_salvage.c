/* A new store of what is whole in a damaged file. */
#include "test.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pm_store *store;

static void make_pool(void) {
    pm_device broken = device_named("broken");
    char name[32];
    unsigned i;
    store = open_new("pool.db");
    broken.error = "what happened";
    broken.error_len = strlen(broken.error);
    OK(pm_add_device(store, &broken, why()));
    for (i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "device-%02u", i);
        add(store, name);
    }
    OK(pm_remove_device(store, PM_LIT("device-50"), why()));
    close_store(store);
}

static void a_sound_store_comes_back_as_it_is(void) {
    pm_salvaged salvaged = PM_SALVAGED_INIT;
    pm_report *report = NULL;
    make_pool();
    OK(pm_salvage(PM_CSTR(place("pool.db")), PM_CSTR(place("new.db")), NULL, 0, &salvaged, &report, why()));
    CHECK(salvaged.devices == 100 && salvaged.recovered == 0 && salvaged.lost_pages == 0 && salvaged.complete == 1);
    CHECK(report->total == 0 && report->count == 0);
    pm_free(report);
    store = open_with(place("new.db"), 0);
    CHECK_INT(100, device_count(store));
    CHECK_INT(52, add(store, "next")); /* the id of device-50 */
    close_store(store);
    CHECK(access(place("new.db.salvaging"), F_OK) != 0);
}

static void what_is_damaged_is_left_out(void) {
    pm_salvaged salvaged = PM_SALVAGED_INIT;
    pm_report *report = NULL;
    pm_options options = PM_OPTIONS_INIT;
    make_pool();
    damage(place("pool.db"), "what happened");
    FAILS(PM_ERR_CORRUPT, pm_open(PM_CSTR(place("pool.db")), NULL, &store, why()));
    options.lock_wait_ms = 1000;
    OK(pm_salvage(PM_CSTR(place("pool.db")), PM_CSTR(place("new.db")), &options, 1, &salvaged, &report, why()));
    CHECK(salvaged.devices == 99 && salvaged.complete == 0 && salvaged.lost_pages == 0);
    CHECK(report->total == 3 && report->count == 1 && report->unfixable == 1);
    CHECK_INT(PM_FINDING_RECORD_DAMAGED, report->findings[0]->kind);
    CHECK_TEXT("broken", report->findings[0]->name, report->findings[0]->name_len);
    pm_free(report);
    store = open_with(place("new.db"), 0);
    FAILS(PM_ERR_NOT_FOUND, pm_mark_faulty(store, PM_LIT("broken"), why()));
    CHECK_INT(PM_STATE_ACTIVATED, state_of(store, "device-99"));
    /* Neither the lost device's id is given out, nor 52: that it is still free cannot be known without that record. */
    CHECK_INT(102, add(store, "next"));
    close_store(store);
}

static void a_file_without_its_first_pages(void) {
    pm_salvaged salvaged = PM_SALVAGED_INIT;
    size_t len = 0;
    unsigned char *file;
    make_pool();
    file = read_file(place("pool.db"), &len);
    memset(file, 0, 8192);
    write_file(place("pool.db"), file, len);
    free(file);
    /* Who does not ask for the report, or the numbers, does not get them. */
    OK(pm_salvage(PM_CSTR(place("pool.db")), PM_CSTR(place("new.db")), NULL, 0, &salvaged, NULL, why()));
    CHECK(salvaged.devices == 100 && salvaged.complete == 0);
    OK(pm_salvage(PM_CSTR(place("pool.db")), PM_CSTR(place("again.db")), NULL, 0, NULL, NULL, NULL));
    store = open_with(place("again.db"), 0);
    CHECK_INT(100, device_count(store));
    close_store(store);
}

static void what_cannot_be(void) {
    pm_salvaged salvaged = PM_SALVAGED_INIT;
    pm_salvaged bad = PM_SALVAGED_INIT;
    pm_report *report = UNTOUCHED;
    const char *pool = place("pool.db");
    const char *target = place("new.db");
    make_pool();
    FAILS(PM_ERR_FILE_EXISTS, pm_salvage(PM_CSTR(pool), PM_CSTR(pool), NULL, 0, &salvaged, &report, why()));
    FAILS(PM_ERR_NO_SUCH_FILE, pm_salvage(PM_CSTR(target), PM_CSTR(target), NULL, 0, &salvaged, &report, why()));
    FAILS(PM_ERR_INVALID_PATH, pm_salvage(NULL, 0, PM_CSTR(target), NULL, 0, &salvaged, &report, why()));
    FAILS(PM_ERR_INVALID_PATH, pm_salvage(PM_CSTR(pool), NULL, 0, NULL, 0, &salvaged, &report, why()));
    FAILS(PM_ERR_INVALID_ARGUMENT, pm_salvage(NULL, 1, PM_CSTR(target), NULL, 0, &salvaged, &report, why()));
    FAILS(PM_ERR_INVALID_ARGUMENT, pm_salvage(PM_CSTR(pool), NULL, 1, NULL, 0, &salvaged, &report, why()));
    bad.struct_size--;
    FAILS(PM_ERR_STRUCT_SIZE, pm_salvage(PM_CSTR(pool), PM_CSTR(target), NULL, 0, &bad, &report, why()));
    write_file(place("text"), "some text of somebody's", 23);
    FAILS(PM_ERR_NOT_A_STORE, pm_salvage(PM_CSTR(place("text")), PM_CSTR(target), NULL, 0, &salvaged, &report, why()));
    store = open_with(pool, 0);
    FAILS(PM_ERR_ALREADY_OPEN, pm_salvage(PM_CSTR(pool), PM_CSTR(target), NULL, 0, &salvaged, &report, why()));
    close_store(store);
    CHECK(report == UNTOUCHED && salvaged.devices == 0 && access(target, F_OK) != 0);
}

static const struct test tests[] = {
    NAMED(a_sound_store_comes_back_as_it_is),
    NAMED(what_is_damaged_is_left_out),
    NAMED(a_file_without_its_first_pages),
    NAMED(what_cannot_be),
};
TEST_MAIN(tests)
