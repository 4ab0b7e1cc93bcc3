/* One device: add, get, read, change its state, mark it faulty, remove it; and which id it gets. */
#include "test.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static pm_store *store;

static pm_device *get(const char *name, size_t name_len) {
    pm_device *device = NULL;
    OK(pm_get_device(store, name, name_len, &device, why()));
    CHECK(device != NULL);
    return device;
}

static void what_is_added_comes_back_whole(void) {
    pm_device device = PM_DEVICE_INIT;
    pm_device *found;
    store = open_new("pool.db");
    device.name = "base and more";
    device.name_len = 4;
    device.parent_name = "root and more";
    device.parent_name_len = 4;
    device.error = "it\0was\nnot me";
    device.error_len = 10;
    device.size = UINT64_MAX;
    device.state = PM_STATE_SUSPENDED;
    device.device_id = 4711;     /* ignored */
    device.generation = 1 << 20; /* ignored */
    OK(pm_add_device(store, &device, why()));
    CHECK_INT(1, device.device_id);
    CHECK_INT(1, device.generation);
    CHECK(device.size == UINT64_MAX && device.state == PM_STATE_SUSPENDED && device.owner == NULL);
    CHECK_TEXT("base", device.name, device.name_len);
    found = get(PM_LIT("base"));
    CHECK_INT(sizeof(pm_device), found->struct_size);
    CHECK_INT(1, found->device_id);
    CHECK_INT(1, found->generation);
    CHECK_INT(PM_STATE_SUSPENDED, found->state);
    CHECK(found->size == UINT64_MAX);
    CHECK_TEXT("base", found->name, found->name_len);
    CHECK_TEXT("root", found->parent_name, found->parent_name_len);
    CHECK_TEXT("it\0was\nnot", found->error, found->error_len);
    /* What the library hands out ends in a NUL. */
    CHECK(found->name[4] == '\0' && found->parent_name[4] == '\0' && found->error[10] == '\0');
    CHECK(found->owner == NULL);
    close_store(store);
    /* The copy outlives the store. */
    CHECK_TEXT("base", found->name, found->name_len);
    pm_free(found);
}

static void least_is_a_name(void) {
    pm_device device = device_named("d");
    pm_device *found;
    store = open_new("pool.db");
    OK(pm_add_device(store, &device, why()));
    found = get(PM_LIT("d"));
    CHECK_INT(PM_STATE_UNKNOWN, found->state);
    CHECK(found->size == 0 && found->parent_name_len == 0 && found->error_len == 0);
    CHECK(found->parent_name[0] == '\0' && found->error[0] == '\0');
    pm_free(found);
    /* With a length of zero the pointer does not matter. */
    device = device_named("e");
    device.parent_name = UNTOUCHED;
    device.error = UNTOUCHED;
    OK(pm_add_device(store, &device, why()));
    close_store(store);
}

static void refuse(pm_device device, int32_t code, const char *word) {
    pm_device before = device;
    FAILS(code, pm_add_device(store, &device, why()));
    CHECK(strstr(told()->message, word) != NULL);
    CHECK_BYTES(&before, sizeof before, &device, sizeof device);
}

static void names_that_cannot_be(void) {
    char long_name[600];
    pm_device device = device_named("d");
    store = open_new("pool.db");
    memset(long_name, 'n', sizeof long_name);
    device.name_len = 0;
    refuse(device, PM_ERR_INVALID_NAME, "empty");
    device.name = NULL;
    refuse(device, PM_ERR_INVALID_NAME, "empty");
    device.name_len = 1;
    refuse(device, PM_ERR_INVALID_ARGUMENT, "device.name");
    device.name = long_name;
    device.name_len = 512;
    refuse(device, PM_ERR_INVALID_NAME, "511");
    device.name = "a\0b";
    device.name_len = 3;
    refuse(device, PM_ERR_INVALID_NAME, "NUL");
    device.name_len = SIZE_MAX;
    refuse(device, PM_ERR_INVALID_ARGUMENT, "device.name");
    device = device_named("d");
    device.parent_name = long_name;
    device.parent_name_len = 512;
    refuse(device, PM_ERR_INVALID_NAME, "parent");
    device.parent_name = "\0";
    device.parent_name_len = 1;
    refuse(device, PM_ERR_INVALID_NAME, "parent");
    device.parent_name = NULL;
    refuse(device, PM_ERR_INVALID_ARGUMENT, "device.parent_name");
    device.parent_name_len = SIZE_MAX / 2 + 1;
    device.parent_name = "x";
    refuse(device, PM_ERR_INVALID_ARGUMENT, "device.parent_name");
    device = device_named("d");
    device.error_len = 1;
    refuse(device, PM_ERR_INVALID_ARGUMENT, "device.error");
    CHECK_INT(0, device_count(store));
    CHECK_INT(1, add(store, "d")); /* nothing refused has taken an id */
    close_store(store);
}

static void names_at_the_limit_and_names_that_are_no_text(void) {
    char name[511];
    pm_device device = PM_DEVICE_INIT;
    pm_device *found;
    store = open_new("pool.db");
    memset(name, 0xff, sizeof name);
    device.name = name;
    device.name_len = sizeof name;
    device.parent_name = name;
    device.parent_name_len = sizeof name;
    OK(pm_add_device(store, &device, why()));
    found = get(name, sizeof name);
    CHECK_BYTES(name, sizeof name, found->name, found->name_len);
    CHECK_BYTES(name, sizeof name, found->parent_name, found->parent_name_len);
    pm_free(found);
    device.name = "\x01\x80\xc3\x28 \n";
    device.name_len = 6;
    OK(pm_add_device(store, &device, why()));
    found = get(PM_LIT("\x01\x80\xc3\x28 \n"));
    CHECK_INT(2, found->device_id);
    pm_free(found);
    close_store(store);
}

/* No device can have such a name, so it is not there; every other operation says the same. */
static void nobody_has_such_a_name(void) {
    static const struct {
        const char *name;
        size_t len;
    } names[] = { { "none", 4 }, { "", 0 }, { NULL, 0 }, { "a\0b", 3 }, { "bas", 3 }, { "base\0", 5 } };
    char long_name[512];
    size_t i;
    store = open_new("pool.db");
    add(store, "base");
    memset(long_name, 'n', sizeof long_name);
    for (i = 0; i <= COUNT(names); i++) {
        const char *name = i < COUNT(names) ? names[i].name : long_name;
        size_t len = i < COUNT(names) ? names[i].len : sizeof long_name;
        pm_device *device = UNTOUCHED;
        pm_update *update = UNTOUCHED;
        uint64_t buffer[32];
        size_t needed = 77;
        memset(buffer, 0x33, sizeof buffer);
        FAILS(PM_ERR_NOT_FOUND, pm_get_device(store, name, len, &device, why()));
        FAILS(PM_ERR_NOT_FOUND, pm_read_device(store, name, len, buffer, sizeof buffer, &needed, why()));
        FAILS(PM_ERR_NOT_FOUND, pm_change_device_state(store, name, len, PM_STATE_CREATED, why()));
        FAILS(PM_ERR_NOT_FOUND, pm_mark_faulty(store, name, len, why()));
        FAILS(PM_ERR_NOT_FOUND, pm_remove_device(store, name, len, why()));
        FAILS(PM_ERR_NOT_FOUND, pm_update_begin(store, name, len, &update, &device, why()));
        CHECK(device == UNTOUCHED && update == UNTOUCHED && needed == 77 && buffer[0] == buffer[31]);
    }
    close_store(store);
}

static void states_that_are_none(void) {
    static const int32_t none[] = { -1, 14, 100, INT32_MAX, INT32_MIN };
    pm_device device = device_named("d");
    int32_t state;
    size_t i;
    store = open_new("pool.db");
    for (i = 0; i < COUNT(none); i++) {
        device.state = none[i];
        refuse(device, PM_ERR_INVALID_STATE, "state");
    }
    add(store, "base");
    for (i = 0; i < COUNT(none); i++) {
        FAILS(PM_ERR_INVALID_STATE, pm_change_device_state(store, PM_LIT("base"), none[i], why()));
    }
    CHECK_INT(PM_STATE_ACTIVATED, state_of(store, "base"));
    for (state = PM_STATE_UNKNOWN; state <= PM_STATE_FAULTY; state++) {
        char name[32];
        snprintf(name, sizeof name, "state-%d", (int)state);
        device = device_named(name);
        device.state = state;
        OK(pm_add_device(store, &device, why()));
        CHECK_INT(state, state_of(store, name));
        OK(pm_change_device_state(store, PM_LIT("base"), state, why()));
        CHECK_INT(state, state_of(store, "base"));
    }
    close_store(store);
}

static void error_texts_of_one_mebibyte_are_kept_whole(void) {
    char *text = malloc(PM_MAX_ERROR_LEN + 1);
    pm_device device = device_named("d");
    pm_device *found;
    size_t i;
    CHECK(text != NULL);
    for (i = 0; i <= PM_MAX_ERROR_LEN; i++) {
        text[i] = (char)(i * 31 + i / 256);
    }
    store = open_new("pool.db");
    device.error = text;
    device.error_len = PM_MAX_ERROR_LEN + 1;
    refuse(device, PM_ERR_TOO_LONG, "1048577");
    device.error_len = SIZE_MAX;
    refuse(device, PM_ERR_INVALID_ARGUMENT, "device.error");
    CHECK_INT(0, device_count(store));
    device.error_len = PM_MAX_ERROR_LEN;
    OK(pm_add_device(store, &device, why()));
    found = get(PM_LIT("d"));
    CHECK_BYTES(text, PM_MAX_ERROR_LEN, found->error, found->error_len);
    pm_free(found);
    /* A write that does not touch the text keeps it. */
    OK(pm_change_device_state(store, PM_LIT("d"), PM_STATE_CREATED, why()));
    close_store(store);
    store = open_new("pool.db");
    found = get(PM_LIT("d"));
    CHECK_BYTES(text, PM_MAX_ERROR_LEN, found->error, found->error_len);
    pm_free(found);
    close_store(store);
    free(text);
}

static void device_structs_of_other_sizes(void) {
    static const size_t bad[] = { 0, 8, sizeof(pm_device) - 1, 65537, SIZE_MAX };
    union {
        pm_device device;
        unsigned char bytes[sizeof(pm_device) + 32];
    } room;
    size_t i;
    store = open_new("pool.db");
    for (i = 0; i < COUNT(bad); i++) {
        pm_device device = device_named("d");
        device.struct_size = bad[i];
        refuse(device, PM_ERR_STRUCT_SIZE, "struct_size");
    }
    memset(&room, 0, sizeof room);
    room.device = device_named("d");
    room.device.struct_size = sizeof room;
    room.bytes[sizeof room - 1] = 1;
    FAILS(PM_ERR_STRUCT_SIZE, pm_add_device(store, &room.device, why()));
    CHECK_INT(0, device_count(store));
    room.bytes[sizeof room - 1] = 0;
    OK(pm_add_device(store, &room.device, why()));
    CHECK(room.device.device_id == 1 && room.device.struct_size == sizeof room);
    close_store(store);
}

static void a_device_is_added_once_unless_it_is_faulty(void) {
    pm_device again = device_named("base");
    pm_device *found;
    store = open_new("pool.db");
    CHECK_INT(1, add(store, "base"));
    refuse(again, PM_ERR_ALREADY_EXISTS, "\"base\"");
    OK(pm_mark_faulty(store, PM_LIT("base"), why()));
    OK(pm_mark_faulty(store, PM_LIT("base"), why()));
    CHECK_INT(PM_STATE_FAULTY, state_of(store, "base"));
    again.size = 7;
    OK(pm_add_device(store, &again, why()));
    CHECK_INT(2, again.device_id);
    found = get(PM_LIT("base"));
    CHECK(found->size == 7 && found->state == PM_STATE_UNKNOWN);
    pm_free(found);
    /* Faulty by its state alone: the id it had is out of use all the same. */
    OK(pm_change_device_state(store, PM_LIT("base"), PM_STATE_FAULTY, why()));
    OK(pm_add_device(store, &again, why()));
    CHECK_INT(3, again.device_id);
    /* A faulty device that is removed gives its id back. */
    OK(pm_mark_faulty(store, PM_LIT("base"), why()));
    OK(pm_remove_device(store, PM_LIT("base"), why()));
    CHECK_INT(3, add(store, "next"));
    close_store(store);
}

static void the_lowest_free_id_comes_first(void) {
    unsigned i;
    char name[16];
    store = open_new("pool.db");
    for (i = 1; i <= 12; i++) {
        snprintf(name, sizeof name, "d%u", i);
        CHECK_INT(i, add(store, name));
    }
    /* By number, not as text, in which 10 comes before 9; and whatever the order of the removals. */
    OK(pm_remove_device(store, PM_LIT("d10"), why()));
    OK(pm_remove_device(store, PM_LIT("d9"), why()));
    OK(pm_remove_device(store, PM_LIT("d2"), why()));
    CHECK_INT(2, add(store, "x"));
    CHECK_INT(9, add(store, "y"));
    CHECK_INT(10, add(store, "z"));
    CHECK_INT(13, add(store, "w"));
    close_store(store);
}

static void ids_come_to_an_end(void) {
    const char *path = place("pool.db");
    pm_options options = PM_OPTIONS_INIT;
    pm_device device = device_named("one too many");
    pm_stats stats = PM_STATS_INIT;
    store = open_with(path, 0);
    CHECK_INT(1, add(store, "base"));
    OK(pm_close(store, why()));
    craft("last-id", path, "16777213");
    options.verify = PM_VERIFY_NONE; /* the ids that the file tells of have no devices */
    OK(pm_open(PM_CSTR(path), &options, &store, why()));
    CHECK_INT(PM_MAX_DEVICE_ID, add(store, "last"));
    refuse(device, PM_ERR_IDS_EXHAUSTED, "16777214");
    OK(pm_get_stats(store, &stats, why()));
    CHECK_INT(2, stats.devices);
    CHECK_INT(PM_MAX_DEVICE_ID, stats.last_id);
    /* One that is given back can be had again. */
    OK(pm_remove_device(store, PM_LIT("base"), why()));
    OK(pm_add_device(store, &device, why()));
    CHECK_INT(1, device.device_id);
    OK(pm_close(store, why()));
}

static void a_removed_device_is_gone(void) {
    pm_device *device = UNTOUCHED;
    store = open_new("pool.db");
    add(store, "base");
    OK(pm_remove_device(store, PM_LIT("base"), why()));
    FAILS(PM_ERR_NOT_FOUND, pm_get_device(store, PM_LIT("base"), &device, why()));
    FAILS(PM_ERR_NOT_FOUND, pm_remove_device(store, PM_LIT("base"), why()));
    CHECK(device == UNTOUCHED);
    close_store(store);
}

static void reading_into_a_buffer(void) {
    union {
        pm_record record;
        uint64_t words[32];
        unsigned char bytes[256];
    } buffer;
    pm_device device = device_named("base");
    size_t needed = 0;
    size_t capacity;
    store = open_new("pool.db");
    device.parent_name = "root";
    device.parent_name_len = 4;
    device.error = "oh";
    device.error_len = 2;
    device.size = 99;
    device.state = PM_STATE_CREATED;
    OK(pm_add_device(store, &device, why()));
    memset(&buffer, 0x33, sizeof buffer);
    OK(pm_read_device(store, PM_LIT("base"), &buffer, sizeof buffer, &needed, why()));
    CHECK_INT(needed, buffer.record.record_size);
    CHECK_INT((sizeof(pm_record) + 4 + 1 + 4 + 1 + 2 + 1 + 7) / 8 * 8, needed);
    CHECK(buffer.record.device_id == 1 && buffer.record.size == 99 && buffer.record.generation == 1);
    CHECK_INT(PM_STATE_CREATED, buffer.record.state);
    CHECK_TEXT("base", pm_record_name(&buffer.record), buffer.record.name_len);
    CHECK_TEXT("root", pm_record_parent_name(&buffer.record), buffer.record.parent_name_len);
    CHECK_TEXT("oh", pm_record_error(&buffer.record), buffer.record.error_len);
    CHECK_TEXT("base\0root\0oh\0\0\0\0", (char *)(&buffer.record + 1), needed - sizeof(pm_record));
    CHECK_INT(0x33, buffer.bytes[needed]);
    /* Too small by whatever it is: told, and left alone. */
    memset(&buffer, 0x33, sizeof buffer);
    for (capacity = 0; capacity < buffer.record.record_size && capacity < 56; capacity++) {
        size_t told_size = 0;
        FAILS(PM_ERR_BUFFER_TOO_SMALL,
              pm_read_device(store, PM_LIT("base"), &buffer, capacity, &told_size, why()));
        CHECK_INT(needed, told_size);
        CHECK(buffer.words[0] == buffer.words[31]);
    }
    FAILS(PM_ERR_BUFFER_TOO_SMALL, pm_read_device(store, PM_LIT("base"), NULL, 0, NULL, why()));
    OK(pm_read_device(store, PM_LIT("base"), &buffer, needed, NULL, why()));
    FAILS(PM_ERR_INVALID_ARGUMENT, pm_read_device(store, PM_LIT("base"), buffer.bytes + 4, 200, &needed, why()));
    FAILS(PM_ERR_INVALID_ARGUMENT, pm_read_device(store, PM_LIT("base"), NULL, 8, &needed, why()));
    close_store(store);
}

static const struct test tests[] = {
    NAMED(what_is_added_comes_back_whole),
    NAMED(least_is_a_name),
    NAMED(names_that_cannot_be),
    NAMED(names_at_the_limit_and_names_that_are_no_text),
    NAMED(nobody_has_such_a_name),
    NAMED(states_that_are_none),
    NAMED(error_texts_of_one_mebibyte_are_kept_whole),
    NAMED(device_structs_of_other_sizes),
    NAMED(a_device_is_added_once_unless_it_is_faulty),
    NAMED(the_lowest_free_id_comes_first),
    NAMED(ids_come_to_an_end),
    NAMED(a_removed_device_is_gone),
    NAMED(reading_into_a_buffer),
};
TEST_MAIN(tests)
