/*
 * Reports as C sees them: the structs and texts of a check and a repair. What they find and fix is
 * in tests/meaning/violations.rs and tests/meaning/repair.rs.
 */
#include "test.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pm_store *store;

static void make_pool(void) {
    store = open_new("pool.db");
    add(store, "base");
    close_store(store);
}

static void check_whole(const pm_report *report) {
    size_t i;
    CHECK_INT(sizeof(pm_report), report->struct_size);
    CHECK(report->unfixable <= report->total);
    CHECK(report->left <= report->total && report->count <= report->total);
    CHECK(report->backup[report->backup_len] == 0);
    for (i = 0; i < report->count; i++) {
        const pm_finding *finding = report->findings[i];
        CHECK_INT(sizeof(pm_finding), finding->struct_size);
        CHECK(finding->text_len > 10 && strlen(finding->text) == finding->text_len);
        CHECK(finding->name[finding->name_len] == 0);
    }
}

/* Under memcheck this shows as well that the check of several pages leaves no memory behind. */
static void sound_store_of_several_pages_has_no_findings(void) {
    pm_report *report = NULL;
    char name[16];
    unsigned i;
    store = open_new("pool.db");
    for (i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "device-%u", i);
        add(store, name);
    }
    OK(pm_check(store, 1, &report, why()));
    CHECK(report->total == 0 && report->left == 0);
    pm_free(report);
    close_store(store);
    OK(pm_check_file(PM_CSTR(place("pool.db")), NULL, 0, &report, why()));
    CHECK(report->total == 0 && report->count == 0 && report->backup_len == 0);
    pm_free(report);
}

static void report_has_as_many_findings_as_were_asked_for(void) {
    const char *path = place("pool.db");
    const pm_finding *finding;
    pm_report *report = NULL;
    pm_options level = PM_OPTIONS_INIT;
    make_pool();
    craft("last-id", path, "4"); /* no device has the ids 2 to 4 */
    OK(pm_check_file(PM_CSTR(path), NULL, 0, &report, why()));
    check_whole(report);
    CHECK(report->total == 3 && report->count == 3 && report->unfixable == 0 && report->left == 3);
    finding = report->findings[0];
    CHECK(finding->kind == PM_FINDING_LOST && finding->fix == PM_FIX_MAKE_FAULTY);
    CHECK(finding->device_id == 2 && finding->name_len == 0);
    CHECK(strstr(finding->text, "id 2") != NULL);
    pm_free(report);
    level.verify = PM_VERIFY_NONE;
    OK(pm_open(PM_CSTR(path), &level, &store, why()));
    OK(pm_check(store, 2, &report, why()));
    check_whole(report);
    CHECK(report->total == 3 && report->count == 2 && report->left == 3);
    pm_free(report);
    OK(pm_close(store, why()));
}

static void repair_takes_its_options(void) {
    const char *path = place("pool.db");
    pm_repair_options options = PM_REPAIR_OPTIONS_INIT;
    pm_report *report = UNTOUCHED;
    make_pool();
    craft("last-id", path, "4");
    options.backup = path;
    options.backup_len = strlen(path);
    FAILS(PM_ERR_FILE_EXISTS, pm_repair(PM_CSTR(path), &options, &report, why()));
    CHECK(report == UNTOUCHED);
    options.backup = place("copy.db");
    options.backup_len = strlen(options.backup);
    options.limit = 1;
    options.lock_wait_ms = 1000;
    options.flags = PM_REPAIR_DRY_RUN;
    OK(pm_repair(PM_CSTR(path), &options, &report, why()));
    CHECK(report->total == 3 && report->left == 3 && report->backup_len == 0);
    pm_free(report);
    options.flags = 0;
    OK(pm_repair(PM_CSTR(path), &options, &report, why()));
    check_whole(report);
    CHECK(report->total == 3 && report->count == 1 && report->left == 0);
    CHECK_BYTES(options.backup, options.backup_len, report->backup, report->backup_len);
    pm_free(report);
    OK(pm_repair(PM_CSTR(path), NULL, &report, why()));
    CHECK(report->total == 0 && report->backup_len == 0);
    pm_free(report);
    store = open_with(path, 0);
    CHECK_INT(5, add(store, "next"));
    close_store(store);
}

static void argument_that_cannot_be_is_refused(void) {
    pm_repair_options options = PM_REPAIR_OPTIONS_INIT;
    pm_options bad = PM_OPTIONS_INIT;
    pm_report *report = UNTOUCHED;
    const char *path = place("pool.db");
    make_pool();
    options.flags = 2;
    FAILS(PM_ERR_INVALID_ARGUMENT, pm_repair(PM_CSTR(path), &options, &report, why()));
    options.flags = 0;
    options.backup_len = 1;
    FAILS(PM_ERR_INVALID_ARGUMENT, pm_repair(PM_CSTR(path), &options, &report, why()));
    options.struct_size--;
    FAILS(PM_ERR_STRUCT_SIZE, pm_repair(PM_CSTR(path), &options, &report, why()));
    bad.struct_size = 1;
    FAILS(PM_ERR_STRUCT_SIZE, pm_check_file(PM_CSTR(path), &bad, 0, &report, why()));
    FAILS(PM_ERR_INVALID_PATH, pm_check_file(NULL, 0, NULL, 0, &report, why()));
    FAILS(PM_ERR_INVALID_PATH, pm_repair(PM_LIT("a\0b"), NULL, &report, why()));
    FAILS(PM_ERR_NO_SUCH_FILE, pm_check_file(PM_CSTR(place("none")), NULL, 0, &report, why()));
    FAILS(PM_ERR_NO_SUCH_FILE, pm_repair(PM_CSTR(place("none")), NULL, &report, why()));
    CHECK(report == UNTOUCHED);
}

static const struct test tests[] = {
    NAMED(sound_store_of_several_pages_has_no_findings),
    NAMED(report_has_as_many_findings_as_were_asked_for),
    NAMED(repair_takes_its_options),
    NAMED(argument_that_cannot_be_is_refused),
};
TEST_MAIN(tests)
