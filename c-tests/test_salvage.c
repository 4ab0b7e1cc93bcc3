/*
 * Salvages as C sees them: the numbers, the report, and callers that want neither. What is salvaged
 * is in tests/meaning/salvage.rs and tests/salvage.
 */
#include "test.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pm_store *store;

static void make_pool(void) {
    pm_device broken = device_named("broken");
    store = open_new("pool.db");
    broken.error = "what happened";
    broken.error_len = strlen(broken.error);
    OK(pm_add_device(store, &broken, why()));
    add(store, "base");
    close_store(store);
}

static void numbers_and_report_tell_of_the_new_store(void) {
    pm_salvaged salvaged = PM_SALVAGED_INIT;
    pm_report *report = NULL;
    pm_options options = PM_OPTIONS_INIT;
    const char *pool = place("pool.db");
    const char *target = place("new.db");
    make_pool();
    damage(pool, "what happened");
    options.lock_wait_ms = 1000;
    OK(pm_salvage(PM_CSTR(pool), PM_CSTR(target), &options, 1, &salvaged, &report, why()));
    CHECK(salvaged.devices == 1 && salvaged.recovered == 0);
    CHECK(salvaged.lost_pages == 0 && salvaged.complete == 0);
    CHECK(salvaged.commits == 2 && salvaged.last_id == 2);
    CHECK(report->total == 2 && report->count == 1 && report->unfixable == 1);
    CHECK_INT(PM_FINDING_RECORD_DAMAGED, report->findings[0]->kind);
    CHECK_TEXT("broken", report->findings[0]->name, report->findings[0]->name_len);
    pm_free(report);
    close_store(open_with(target, 0));
}

/* A program that was compiled before the later fields came has no memory for them. */
static void smaller_struct_is_filled_as_far_as_it_goes(void) {
    pm_salvaged salvaged = PM_SALVAGED_INIT;
    make_pool();
    salvaged.struct_size = offsetof(pm_salvaged, commits);
    salvaged.commits = 77;
    OK(pm_salvage(PM_CSTR(place("pool.db")), PM_CSTR(place("new.db")), NULL, 0, &salvaged, NULL,
                  why()));
    CHECK(salvaged.devices == 2 && salvaged.complete == 1 && salvaged.commits == 77);
}

static void caller_need_not_ask_for_numbers_and_report(void) {
    make_pool();
    OK(pm_salvage(PM_CSTR(place("pool.db")), PM_CSTR(place("new.db")), NULL, 0, NULL, NULL, NULL));
    store = open_with(place("new.db"), 0);
    CHECK_INT(2, device_count(store));
    close_store(store);
}

#define SALVAGE(...) pm_salvage(__VA_ARGS__, NULL, 0, &salvaged, &report, why())

static void argument_that_cannot_be_is_refused(void) {
    pm_salvaged salvaged = PM_SALVAGED_INIT;
    pm_salvaged bad = PM_SALVAGED_INIT;
    pm_report *report = UNTOUCHED;
    const char *pool = place("pool.db");
    const char *target = place("new.db");
    make_pool();
    FAILS(PM_ERR_FILE_EXISTS, SALVAGE(PM_CSTR(pool), PM_CSTR(pool)));
    FAILS(PM_ERR_NO_SUCH_FILE, SALVAGE(PM_CSTR(target), PM_CSTR(target)));
    FAILS(PM_ERR_INVALID_PATH, SALVAGE(NULL, 0, PM_CSTR(target)));
    FAILS(PM_ERR_INVALID_PATH, SALVAGE(PM_CSTR(pool), NULL, 0));
    FAILS(PM_ERR_INVALID_ARGUMENT, SALVAGE(NULL, 1, PM_CSTR(target)));
    FAILS(PM_ERR_INVALID_ARGUMENT, SALVAGE(PM_CSTR(pool), NULL, 1));
    bad.struct_size = offsetof(pm_salvaged, commits) - 1;
    FAILS(PM_ERR_STRUCT_SIZE,
          pm_salvage(PM_CSTR(pool), PM_CSTR(target), NULL, 0, &bad, &report, why()));
    CHECK(report == UNTOUCHED && salvaged.devices == 0 && access(target, F_OK) != 0);
}

static const struct test tests[] = {
    NAMED(numbers_and_report_tell_of_the_new_store),
    NAMED(smaller_struct_is_filled_as_far_as_it_goes),
    NAMED(caller_need_not_ask_for_numbers_and_report),
    NAMED(argument_that_cannot_be_is_refused),
};
TEST_MAIN(tests)
