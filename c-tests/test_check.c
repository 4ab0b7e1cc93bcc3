/* What is wrong with a store, told as data, and what a repair makes of it. */
#include "test.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pm_store *store;

static void make_pool(void) {
    pm_device broken = device_named("broken");
    store = open_new("pool.db");
    add(store, "base");
    broken.error = "what happened";
    broken.error_len = strlen(broken.error);
    OK(pm_add_device(store, &broken, why()));
    add(store, "snap");
    close_store(store);
}

static const pm_finding *find(const pm_report *report, int32_t kind) {
    size_t i;
    for (i = 0; i < report->count; i++) {
        if (report->findings[i]->kind == kind) {
            return report->findings[i];
        }
    }
    fail(__FILE__, __LINE__, "no finding of kind %d", (int)kind);
}

static void check_whole(const pm_report *report) {
    size_t i;
    CHECK_INT(sizeof(pm_report), report->struct_size);
    CHECK(report->unfixable <= report->total && report->left <= report->total && report->count <= report->total);
    CHECK(report->backup[report->backup_len] == 0);
    for (i = 0; i < report->count; i++) {
        const pm_finding *finding = report->findings[i];
        CHECK_INT(sizeof(pm_finding), finding->struct_size);
        CHECK(finding->text_len > 10 && strlen(finding->text) == finding->text_len);
        CHECK(finding->name[finding->name_len] == 0);
    }
}

static pm_report *report_on(const char *path) {
    pm_report *report = NULL;
    OK(pm_check_file(PM_CSTR(path), NULL, 0, &report, why()));
    check_whole(report);
    return report;
}

static void a_sound_store_has_no_findings(void) {
    pm_report *report = NULL;
    make_pool();
    report = report_on(place("pool.db"));
    CHECK(report->total == 0 && report->count == 0 && report->left == 0 && report->backup_len == 0);
    pm_free(report);
    OK(pm_repair(PM_CSTR(place("pool.db")), NULL, &report, why()));
    CHECK(report->total == 0 && report->backup_len == 0);
    pm_free(report);
    CHECK(access(place("pool.db.before-repair-1"), F_OK) != 0);
    store = open_with(place("pool.db"), 0);
    OK(pm_check(store, 1, &report, why()));
    CHECK(report->total == 0);
    pm_free(report);
    FAILS(PM_ERR_ALREADY_OPEN, pm_check_file(PM_CSTR(place("pool.db")), NULL, 0, &report, why()));
    FAILS(PM_ERR_ALREADY_OPEN, pm_repair(PM_CSTR(place("pool.db")), NULL, &report, why()));
    close_store(store);
}

/* Of more pages than one, each is checked. Under memcheck this shows as well that nothing is left of that. */
static void a_sound_store_of_several_pages_has_no_findings(void) {
    pm_report *report = NULL;
    char name[16];
    unsigned i;
    store = open_new("pool.db");
    for (i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "device-%u", i);
        add(store, name);
    }
    close_store(store);
    report = report_on(place("pool.db"));
    CHECK(report->total == 0);
    pm_free(report);
}

static void what_can_be_fixed_is(void) {
    const char *path = place("pool.db");
    pm_repair_options options = PM_REPAIR_OPTIONS_INIT;
    pm_report *report = NULL;
    pm_options level = PM_OPTIONS_INIT;
    make_pool();
    craft("last-id", path, "7");
    FAILS(PM_ERR_CORRUPT, pm_open(PM_CSTR(path), NULL, &store, why()));
    report = report_on(path);
    CHECK(report->total == 4 && report->count == 4 && report->unfixable == 0 && report->left == 4);
    CHECK(find(report, PM_FINDING_LOST)->device_id == 4 && find(report, PM_FINDING_LOST)->name_len == 0);
    CHECK_INT(PM_FIX_MAKE_FAULTY, find(report, PM_FINDING_LOST)->fix);
    CHECK(strstr(find(report, PM_FINDING_LOST)->text, "id 4") != NULL);
    pm_free(report);
    /* The same while it is open. */
    level.verify = PM_VERIFY_NONE;
    OK(pm_open(PM_CSTR(path), &level, &store, why()));
    OK(pm_check(store, 2, &report, why()));
    check_whole(report);
    CHECK(report->total == 4 && report->count == 2 && report->left == 4);
    pm_free(report);
    OK(pm_close(store, why()));
    /* A dry run, and a place for the copy that is taken. */
    options.flags = PM_REPAIR_DRY_RUN;
    OK(pm_repair(PM_CSTR(path), &options, &report, why()));
    CHECK(report->total == 4 && report->left == 4 && report->backup_len == 0);
    pm_free(report);
    options.flags = 0;
    options.backup = path;
    options.backup_len = strlen(path);
    report = UNTOUCHED;
    FAILS(PM_ERR_FILE_EXISTS, pm_repair(PM_CSTR(path), &options, &report, why()));
    CHECK(report == UNTOUCHED);
    FAILS(PM_ERR_CORRUPT, pm_open(PM_CSTR(path), NULL, &store, why()));
    options.backup = place("copy.db");
    options.backup_len = strlen(options.backup);
    options.limit = 1;
    options.lock_wait_ms = 1000;
    OK(pm_repair(PM_CSTR(path), &options, &report, why()));
    check_whole(report);
    CHECK(report->total == 4 && report->count == 1 && report->left == 0);
    CHECK_BYTES(options.backup, options.backup_len, report->backup, report->backup_len);
    pm_free(report);
    store = open_with(path, 0);
    CHECK_INT(8, add(store, "next"));
    close_store(store);
    FAILS(PM_ERR_CORRUPT, pm_open(PM_CSTR(options.backup), NULL, &store, why()));
}

static void what_cannot_be_fixed_is_told(void) {
    const char *path = place("pool.db");
    const char *copy = place("pool.db.before-repair-1");
    const pm_finding *finding;
    pm_report *report = NULL;
    make_pool();
    damage(path, "what happened");
    report = report_on(path);
    finding = find(report, PM_FINDING_RECORD_DAMAGED);
    CHECK_TEXT("broken", finding->name, finding->name_len);
    CHECK_INT(PM_FIX_NOTHING, finding->fix);
    CHECK_INT(1, report->unfixable);
    pm_free(report);
    OK(pm_repair(PM_CSTR(path), NULL, &report, why()));
    check_whole(report);
    CHECK(report->left == 1 && report->total > 1 && report->unfixable == 1);
    CHECK_BYTES(copy, strlen(copy), report->backup, report->backup_len);
    pm_free(report);
    FAILS(PM_ERR_CORRUPT, pm_open(PM_CSTR(path), NULL, &store, why()));
    report = report_on(path);
    CHECK(report->total == 1 && find(report, PM_FINDING_RECORD_DAMAGED) == report->findings[0]);
    pm_free(report);
}

static void arguments_that_cannot_be(void) {
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
    write_file(place("text"), "some text of somebody's", 23);
    FAILS(PM_ERR_NOT_A_STORE, pm_check_file(PM_CSTR(place("text")), NULL, 0, &report, why()));
    FAILS(PM_ERR_NOT_A_STORE, pm_repair(PM_CSTR(place("text")), NULL, &report, why()));
    CHECK(report == UNTOUCHED);
}

static const struct test tests[] = {
    NAMED(a_sound_store_has_no_findings),
    NAMED(a_sound_store_of_several_pages_has_no_findings),
    NAMED(what_can_be_fixed_is),
    NAMED(what_cannot_be_fixed_is_told),
    NAMED(arguments_that_cannot_be),
};
TEST_MAIN(tests)
