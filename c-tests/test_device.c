/*
 * Devices as C sees them: struct sizes, pointers and lengths, buffers, numbers that are no state.
 * What the operations mean is in tests/meaning/device.rs.
 */
#include "test.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static pm_store *store;

static void texts_handed_out_end_in_a_nul_and_outlive_the_store(void) {
    pm_device device = PM_DEVICE_INIT;
    pm_device *found = NULL;
    store = open_new("pool.db");
    device.name = "base and more";
    device.name_len = 4;
    device.parent_name = "root and more";
    device.parent_name_len = 4;
    device.error = "it\0was\nnot me";
    device.error_len = 10;
    OK(pm_add_device(store, &device, why()));
    CHECK(device.device_id == 1 && device.generation == 1 && device.owner == NULL);
    CHECK_TEXT("base", device.name, device.name_len);
    OK(pm_get_device(store, PM_LIT("base"), &found, why()));
    close_store(store);
    CHECK(found->struct_size == sizeof(pm_device) && found->owner == NULL);
    CHECK_TEXT("base\0", found->name, found->name_len + 1);
    CHECK_TEXT("root\0", found->parent_name, found->parent_name_len + 1);
    CHECK_TEXT("it\0was\nnot\0", found->error, found->error_len + 1);
    pm_free(found);
}

static void pointer_with_a_length_of_zero_is_not_looked_at(void) {
    pm_device device = device_named("e");
    pm_device *found = NULL;
    store = open_new("pool.db");
    device.parent_name = UNTOUCHED;
    device.error = UNTOUCHED;
    OK(pm_add_device(store, &device, why()));
    OK(pm_get_device(store, PM_LIT("e"), &found, why()));
    CHECK(found->parent_name[0] == '\0' && found->error[0] == '\0');
    pm_free(found);
    close_store(store);
}

static void refuse(pm_device device, int32_t code, const char *word) {
    pm_device before = device;
    FAILS(code, pm_add_device(store, &device, why()));
    CHECK(strstr(told()->message, word) != NULL);
    CHECK_BYTES(&before, sizeof before, &device, sizeof device);
}

static void text_that_no_device_can_have_is_refused(void) {
    static char text[PM_MAX_ERROR_LEN + 1];
    pm_device device = device_named("d");
    store = open_new("pool.db");
    memset(text, 'n', sizeof text);
    device.name = NULL;
    device.name_len = 0;
    refuse(device, PM_ERR_INVALID_NAME, "empty");
    device.name_len = 1;
    refuse(device, PM_ERR_INVALID_ARGUMENT, "device.name");
    device.name = text;
    device.name_len = 512;
    refuse(device, PM_ERR_INVALID_NAME, "511");
    device.name_len = SIZE_MAX;
    refuse(device, PM_ERR_INVALID_ARGUMENT, "device.name");
    device = device_named("d");
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
    device.error = text;
    device.error_len = SIZE_MAX;
    refuse(device, PM_ERR_INVALID_ARGUMENT, "device.error");
    device.error_len = sizeof text;
    refuse(device, PM_ERR_TOO_LONG, "1048577");
    CHECK_INT(1, add(store, "d")); /* nothing that was refused has taken an id */
    close_store(store);
}

static void name_that_no_device_has_leaves_the_outputs_alone(void) {
    static const struct {
        const char *name;
        size_t len;
    } names[] = { { "none", 4 }, { "", 0 }, { NULL, 0 }, { "a\0b", 3 }, { "base\0", 5 } };
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
        FAILS(PM_ERR_NOT_FOUND,
              pm_read_device(store, name, len, buffer, sizeof buffer, &needed, why()));
        FAILS(PM_ERR_NOT_FOUND, pm_change_device_state(store, name, len, 1, why()));
        FAILS(PM_ERR_NOT_FOUND, pm_mark_faulty(store, name, len, why()));
        FAILS(PM_ERR_NOT_FOUND, pm_remove_device(store, name, len, why()));
        FAILS(PM_ERR_NOT_FOUND, pm_update_begin(store, name, len, &update, &device, why()));
        CHECK(device == UNTOUCHED && update == UNTOUCHED);
        CHECK(needed == 77 && buffer[0] == buffer[31]);
    }
    close_store(store);
}

static void number_that_is_no_state_is_refused(void) {
    static const int32_t numbers[] = { -1, 14, 100, INT32_MAX, INT32_MIN };
    pm_device device = device_named("d");
    size_t i;
    store = open_new("pool.db");
    add(store, "base");
    for (i = 0; i < COUNT(numbers); i++) {
        device.state = numbers[i];
        refuse(device, PM_ERR_INVALID_STATE, "state");
        FAILS(PM_ERR_INVALID_STATE,
              pm_change_device_state(store, PM_LIT("base"), numbers[i], why()));
    }
    CHECK_INT(PM_STATE_ACTIVATED, state_of(store, "base"));
    close_store(store);
}

static void device_struct_of_another_size_is_refused_if_more_is_set(void) {
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

static void device_is_added_once_unless_it_is_faulty(void) {
    pm_device again = device_named("base");
    store = open_new("pool.db");
    add(store, "base");
    refuse(again, PM_ERR_ALREADY_EXISTS, "\"base\"");
    OK(pm_mark_faulty(store, PM_LIT("base"), why()));
    OK(pm_add_device(store, &again, why()));
    CHECK_INT(2, again.device_id);
    OK(pm_remove_device(store, PM_LIT("base"), why()));
    FAILS(PM_ERR_NOT_FOUND, pm_remove_device(store, PM_LIT("base"), why()));
    close_store(store);
}

static void no_id_is_given_out_after_the_last(void) {
    const char *path = place("pool.db");
    pm_options options = PM_OPTIONS_INIT;
    pm_device device = device_named("one too many");
    close_store(open_with(path, 0));
    craft("last-id", path, "16777213");
    options.verify = PM_VERIFY_NONE; /* the ids that the file tells of have no devices */
    OK(pm_open(PM_CSTR(path), &options, &store, why()));
    CHECK_INT(PM_MAX_DEVICE_ID, add(store, "last"));
    refuse(device, PM_ERR_IDS_EXHAUSTED, "16777214");
    OK(pm_close(store, why()));
}

static void record_is_read_into_a_buffer_that_is_large_enough(void) {
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
    CHECK(buffer.record.device_id == 1 && buffer.record.size == 99);
    CHECK(buffer.record.generation == 1 && buffer.record.state == PM_STATE_CREATED);
    CHECK_TEXT("base", pm_record_name(&buffer.record), buffer.record.name_len);
    CHECK_TEXT("root", pm_record_parent_name(&buffer.record), buffer.record.parent_name_len);
    CHECK_TEXT("oh", pm_record_error(&buffer.record), buffer.record.error_len);
    CHECK_TEXT("base\0root\0oh\0\0\0\0", (char *)(&buffer.record + 1), needed - sizeof(pm_record));
    CHECK_INT(0x33, buffer.bytes[needed]);
    /* If it is too small, by however little, the size is reported and the buffer left alone. */
    memset(&buffer, 0x33, sizeof buffer);
    for (capacity = 0; capacity < buffer.record.record_size && capacity < 56; capacity++) {
        size_t needed_now = 0;
        FAILS(PM_ERR_BUFFER_TOO_SMALL,
              pm_read_device(store, PM_LIT("base"), &buffer, capacity, &needed_now, why()));
        CHECK_INT(needed, needed_now);
        CHECK(buffer.words[0] == buffer.words[31]);
    }
    FAILS(PM_ERR_BUFFER_TOO_SMALL, pm_read_device(store, PM_LIT("base"), NULL, 0, NULL, why()));
    OK(pm_read_device(store, PM_LIT("base"), &buffer, needed, NULL, why()));
    FAILS(PM_ERR_INVALID_ARGUMENT,
          pm_read_device(store, PM_LIT("base"), buffer.bytes + 4, 200, &needed, why()));
    FAILS(PM_ERR_INVALID_ARGUMENT,
          pm_read_device(store, PM_LIT("base"), NULL, 8, &needed, why()));
    close_store(store);
}

static const struct test tests[] = {
    NAMED(texts_handed_out_end_in_a_nul_and_outlive_the_store),
    NAMED(pointer_with_a_length_of_zero_is_not_looked_at),
    NAMED(text_that_no_device_can_have_is_refused),
    NAMED(name_that_no_device_has_leaves_the_outputs_alone),
    NAMED(number_that_is_no_state_is_refused),
    NAMED(device_struct_of_another_size_is_refused_if_more_is_set),
    NAMED(device_is_added_once_unless_it_is_faulty),
    NAMED(no_id_is_given_out_after_the_last),
    NAMED(record_is_read_into_a_buffer_that_is_large_enough),
};
TEST_MAIN(tests)
