/* Which library this is, and the names and numbers that never change. */
#include "test.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_OF(text) #text
#define EXPANDED(macro) TEXT_OF(macro)

static void versions_are_those_of_the_build(void) {
    CHECK_INT(PM_ABI_VERSION, pm_abi_version());
    CHECK_TEXT(EXPANDED(PM_EXPECTED_VERSION), pm_version(), strlen(pm_version()));
    CHECK(strncmp(pm_lmdb_version(), "LMDB 0.9.", 9) == 0);
    CHECK(pm_version() == pm_version() && pm_lmdb_version() == pm_lmdb_version());
}

/* Whatever else of its name is installed, or in LD_LIBRARY_PATH. */
static void shared_library_is_the_one_that_was_built(void) {
    const char *built = getenv("PM_LIBRARY");
    char *wanted = built != NULL ? realpath(built, NULL) : NULL;
    Dl_info found;
    char *path;
    CHECK(dladdr((void *)(uintptr_t)pm_version, &found) != 0);
    path = realpath(found.dli_fname, NULL);
    CHECK(path != NULL && wanted != NULL);
    /* In a program with the archive, the function is in the program itself. */
    if (strstr(path, "/libpool_metadata.") != NULL) {
        CHECK(strcmp(wanted, path) == 0);
    }
    free(path);
    free(wanted);
}

static const struct {
    int32_t code;
    int32_t number;
    const char *name;
} codes[] = {
#define CODE(name, number) { name, number, #name }
    CODE(PM_OK, 0),
    CODE(PM_ERR_NOT_FOUND, 1),
    CODE(PM_ERR_ALREADY_EXISTS, 2),
    CODE(PM_ERR_INVALID_ARGUMENT, 3),
    CODE(PM_ERR_INVALID_NAME, 4),
    CODE(PM_ERR_INVALID_STATE, 5),
    CODE(PM_ERR_TOO_LONG, 6),
    CODE(PM_ERR_IDENTITY_CHANGED, 7),
    CODE(PM_ERR_IDS_EXHAUSTED, 8),
    CODE(PM_ERR_CALLBACK, 9),
    CODE(PM_ERR_NESTED_WRITE, 10),
    CODE(PM_ERR_CONFLICT, 11),
    CODE(PM_ERR_TIMEOUT, 12),
    CODE(PM_ERR_CLOSED, 13),
    CODE(PM_ERR_BUSY, 14),
    CODE(PM_ERR_FORKED, 15),
    CODE(PM_ERR_READ_ONLY, 16),
    CODE(PM_ERR_ALREADY_OPEN, 17),
    CODE(PM_ERR_BUFFER_TOO_SMALL, 18),
    CODE(PM_ERR_STRUCT_SIZE, 19),
    CODE(PM_ERR_INVALID_PATH, 20),
    CODE(PM_ERR_NO_SUCH_FILE, 21),
    CODE(PM_ERR_PERMISSION, 22),
    CODE(PM_ERR_NOT_REGULAR_FILE, 23),
    CODE(PM_ERR_NOT_A_STORE, 24),
    CODE(PM_ERR_BBOLT_FILE, 25),
    CODE(PM_ERR_FOREIGN_LMDB, 26),
    CODE(PM_ERR_NEWER_FORMAT, 27),
    CODE(PM_ERR_CORRUPT, 28),
    CODE(PM_ERR_DISK_FULL, 29),
    CODE(PM_ERR_MAP_FULL, 30),
    CODE(PM_ERR_READERS_FULL, 31),
    CODE(PM_ERR_IO, 32),
    CODE(PM_ERR_WRITES_STOPPED, 33),
    CODE(PM_ERR_NO_MEMORY, 34),
    CODE(PM_ERR_INTERNAL, 35),
    CODE(PM_ERR_NOT_EMPTY, 36),
    CODE(PM_ERR_FILE_EXISTS, 37),
    CODE(PM_ERR_TOO_MANY_CHANGES, 38),
    CODE(PM_ERR_OTHER_LMDB, 39),
    CODE(PM_ERR_READ_ONLY_FS, 40),
    CODE(PM_ERR_UNSUPPORTED, 41),
    CODE(PM_ERR_PID_IN_USE, 42),
    CODE(PM_ERR_LOCKS_LOST, 43),
    CODE(PM_ERR_ID_IN_USE, 44),
    CODE(PM_ERR_ID_NOT_FAULTY, 45),
    CODE(PM_ERR_OTHER_POOL, 46),
    CODE(PM_ERR_TOO_MANY_INTENTS, 47),
    CODE(PM_ERR_PINNED, 48),
    CODE(PM_ERR_UNFINISHED, 49),
#undef CODE
};

static void codes_keep_their_numbers_and_names(void) {
    size_t i;
    for (i = 0; i < COUNT(codes); i++) {
        CHECK_INT(codes[i].number, codes[i].code);
        CHECK_INT(i, codes[i].number);
        CHECK(strcmp(pm_status_name(codes[i].number), codes[i].name) == 0);
    }
}

static void number_that_is_no_code_is_unknown(void) {
    static const int32_t none[] = { -1, COUNT(codes), 100, INT32_MAX, INT32_MIN };
    size_t i;
    for (i = 0; i < COUNT(none); i++) {
        CHECK(strcmp(pm_status_name(none[i]), "PM_ERR_UNKNOWN") == 0);
    }
}

static void states_keep_their_numbers_and_names(void) {
    static const struct {
        int32_t state;
        const char *name;
    } states[] = {
        { PM_STATE_UNKNOWN, "Unknown" },           { PM_STATE_CREATING, "Creating" },
        { PM_STATE_CREATED, "Created" },           { PM_STATE_ACTIVATING, "Activating" },
        { PM_STATE_ACTIVATED, "Activated" },       { PM_STATE_SUSPENDING, "Suspending" },
        { PM_STATE_SUSPENDED, "Suspended" },       { PM_STATE_RESUMING, "Resuming" },
        { PM_STATE_RESUMED, "Resumed" },           { PM_STATE_DEACTIVATING, "Deactivating" },
        { PM_STATE_DEACTIVATED, "Deactivated" },   { PM_STATE_REMOVING, "Removing" },
        { PM_STATE_REMOVED, "Removed" },           { PM_STATE_FAULTY, "Faulty" },
    };
    static const int32_t none[] = { -1, 14, INT32_MAX, INT32_MIN };
    size_t i;
    for (i = 0; i < COUNT(states); i++) {
        CHECK_INT(i, states[i].state);
        CHECK(strcmp(pm_state_name(states[i].state), states[i].name) == 0);
    }
    for (i = 0; i < COUNT(none); i++) {
        CHECK(pm_state_name(none[i]) == NULL);
    }
}

static void limits_keep_their_numbers(void) {
    CHECK_INT(511, PM_MAX_NAME_LEN);
    CHECK_INT(1 << 20, PM_MAX_ERROR_LEN);
    CHECK_INT(0xfffffe, PM_MAX_DEVICE_ID);
    CHECK_INT(1024, PM_ERROR_MESSAGE_SIZE);
    CHECK_INT(1, PM_OPEN_READ_ONLY);
    CHECK_INT(2, PM_OPEN_EXPECT_DEFERRED);
    CHECK_INT(0, PM_VERIFY_DEFAULT);
    CHECK_INT(1, PM_VERIFY_NONE);
    CHECK_INT(2, PM_VERIFY_QUICK);
    CHECK_INT(3, PM_VERIFY_FULL);
    CHECK_INT(0, PM_DURABILITY_FULL);
    CHECK_INT(1, PM_DURABILITY_RELAXED);
    CHECK_INT(0, PM_CHANGE_ADD);
    CHECK_INT(1, PM_CHANGE_UPDATE);
    CHECK_INT(2, PM_CHANGE_STATE);
    CHECK_INT(3, PM_CHANGE_MARK_FAULTY);
    CHECK_INT(4, PM_CHANGE_REMOVE);
}

/* What a program built with this header passes: a change here is a new ABI. */
static void structs_keep_their_layout(void) {
    CHECK_INT(8 + 3 * 4 + 1024 + 4, sizeof(pm_error));
    CHECK_INT(8 + 3 * 4, offsetof(pm_error, message));
    CHECK_INT(88, sizeof(pm_device));
    CHECK_INT(32, offsetof(pm_device, name));
    CHECK_INT(80, offsetof(pm_device, owner));
    CHECK_INT(80, sizeof(pm_options));
    CHECK_INT(32, offsetof(pm_options, verify));
    CHECK_INT((2 + 40) * 8, sizeof(pm_histogram));
    CHECK_INT(13 * 8, offsetof(pm_stats, pages_free));
    CHECK_INT(24 * 8, offsetof(pm_stats, commit_operations));
    CHECK_INT((24 + 2 * (2 + 40) + 3) * 8, sizeof(pm_stats));
    CHECK_INT(40, sizeof(pm_record));
    CHECK_INT(16, sizeof(pm_name));
    CHECK_INT(16, sizeof(pm_names));
    CHECK_INT(48, sizeof(pm_ids));
    CHECK_INT(24, sizeof(pm_running_reads));
    CHECK_INT(24, offsetof(pm_running_read, pid));
    CHECK_INT(48, sizeof(pm_change));
}

static void structs_have_the_sizes_that_the_library_says(void) {
#define SIZED(name) { #name, sizeof(name) }
    static const struct {
        const char *name;
        size_t size;
    } structs[] = {
        SIZED(pm_change),    SIZED(pm_device),         SIZED(pm_error),    SIZED(pm_finding),
        SIZED(pm_histogram), SIZED(pm_ids),            SIZED(pm_name),     SIZED(pm_names),
        SIZED(pm_options),   SIZED(pm_record),         SIZED(pm_report),   SIZED(pm_running_read),
        SIZED(pm_salvaged),  SIZED(pm_repair_options), SIZED(pm_running_reads), SIZED(pm_stats),
        SIZED(pm_filter),    SIZED(pm_id),             SIZED(pm_id_list),  SIZED(pm_intent),
        SIZED(pm_removal),   SIZED(pm_intent_list),    SIZED(pm_removals), SIZED(pm_restored),
    };
#undef SIZED
    size_t i;
    for (i = 0; i < COUNT(structs); i++) {
        CHECK_INT(structs[i].size, pm_struct_size(PM_CSTR(structs[i].name)));
    }
    CHECK_INT(0, pm_struct_size(PM_LIT("pm_store")));
    CHECK_INT(0, pm_struct_size(NULL, 0));
    CHECK_INT(0, pm_struct_size(NULL, 9));
}

static void findings_and_fixes_have_names(void) {
    CHECK(strcmp(pm_finding_name(PM_FINDING_HEADER_DAMAGED), "HeaderDamaged") == 0);
    CHECK(strcmp(pm_finding_name(PM_FINDING_RECOVERED), "Recovered") == 0);
    CHECK(pm_finding_name(0) == NULL && pm_finding_name(16) == NULL);
    CHECK(pm_finding_name(-1) == NULL && pm_finding_name(INT32_MIN) == NULL);
    CHECK(strcmp(pm_fix_name(PM_FIX_NOTHING), "Nothing") == 0);
    CHECK(strcmp(pm_fix_name(PM_FIX_MAKE_FAULTY), "MakeFaulty") == 0);
    CHECK(pm_fix_name(-1) == NULL && pm_fix_name(5) == NULL && pm_fix_name(INT32_MAX) == NULL);
}

static void init_macros_set_the_size_and_nothing_else(void) {
    static const pm_error error = PM_ERROR_INIT;
    static const pm_device device = PM_DEVICE_INIT;
    static const pm_options options = PM_OPTIONS_INIT;
    static const pm_stats stats = PM_STATS_INIT;
    static const pm_ids ids = PM_IDS_INIT;
    static const struct {
        const void *made;
        size_t size;
    } made[] = { { &error, sizeof error },
                 { &device, sizeof device },
                 { &options, sizeof options },
                 { &stats, sizeof stats },
                 { &ids, sizeof ids } };
    size_t i;
    for (i = 0; i < COUNT(made); i++) {
        const unsigned char *bytes = made[i].made;
        size_t size;
        size_t at;
        memcpy(&size, bytes, sizeof size);
        CHECK_INT(made[i].size, size);
        for (at = sizeof size; at < made[i].size; at++) {
            CHECK_INT(0, bytes[at]);
        }
    }
}

static const struct test tests[] = {
    NAMED(versions_are_those_of_the_build),
    NAMED(shared_library_is_the_one_that_was_built),
    NAMED(codes_keep_their_numbers_and_names),
    NAMED(number_that_is_no_code_is_unknown),
    NAMED(states_keep_their_numbers_and_names),
    NAMED(limits_keep_their_numbers),
    NAMED(structs_keep_their_layout),
    NAMED(structs_have_the_sizes_that_the_library_says),
    NAMED(findings_and_fixes_have_names),
    NAMED(init_macros_set_the_size_and_nothing_else),
};
TEST_MAIN(tests)
