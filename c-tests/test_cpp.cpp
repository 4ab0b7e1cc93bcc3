// The header as C++17, and exceptions that leave callbacks: they pass through the library to the
// C++ caller, and the library releases what it holds.
#include "test.h"

#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

static_assert(std::is_standard_layout_v<pm_device> && std::is_trivially_copyable_v<pm_device>);
static_assert(std::is_standard_layout_v<pm_record> && alignof(pm_record) == 8);

namespace {

pm_store *store;

struct Freed {
    void operator()(void *block) const { pm_free(block); }
};
using Device = std::unique_ptr<pm_device, Freed>;

Device get(std::string_view name) {
    pm_device *device = nullptr;
    OK(pm_get_device(store, name.data(), name.size(), &device, why()));
    return Device(device);
}

void init_macros_and_lengths_compile_as_cpp() {
    pm_error error = PM_ERROR_INIT;
    pm_device device = PM_DEVICE_INIT;
    pm_options options = PM_OPTIONS_INIT;
    pm_stats stats = PM_STATS_INIT;
    pm_ids ids = PM_IDS_INIT;
    const std::string path = place("pool.db");
    const std::string name = "base";
    CHECK(error.struct_size == sizeof error && device.struct_size == sizeof device);
    CHECK(ids.struct_size == sizeof ids && ids.free_ids == nullptr);
    OK(pm_open(path.data(), path.size(), &options, &store, &error));
    device.name = name.data();
    device.name_len = name.size();
    OK(pm_add_device(store, &device, &error));
    CHECK(get(name)->device_id == 1);
    OK(pm_change_device_state(store, PM_CSTR(name.c_str()), PM_STATE_CREATED, &error));
    OK(pm_change_device_state(store, PM_LIT("base"), PM_STATE_ACTIVATED, &error));
    OK(pm_get_stats(store, &stats, &error));
    CHECK(stats.devices == 1);
    close_store(store);
}

void records_are_read_from_a_vector() {
    std::vector<uint64_t> page(512);
    pm_walk *walk = nullptr;
    std::size_t count = 0;
    std::string names;
    store = open_new("pool.db");
    add(store, "a");
    add(store, "b");
    OK(pm_walk_open(store, &walk, why()));
    OK(pm_walk_next(walk, page.data(), page.size() * sizeof page[0], &count, nullptr, why()));
    auto *record = reinterpret_cast<const pm_record *>(page.data());
    for (; count > 0; count--, record = pm_record_next(record)) {
        names += std::string_view(pm_record_name(record), record->name_len);
        CHECK(pm_record_parent_name(record)[0] == '\0' && pm_record_error(record)[0] == '\0');
    }
    CHECK(names == "ab");
    pm_walk_close(walk);
    close_store(store);
}

// Something with a destructor between the callback and the one that catches.
struct Witness {
    int &destroyed;
    ~Witness() { destroyed++; }
};

int32_t throw_from_update(pm_device *device, void *user_data) {
    Witness witness{*static_cast<int *>(user_data)};
    device->size = 1;
    OK(pm_device_set_error(device, PM_LIT("never written"), why()));
    throw std::runtime_error("from an update");
}

void exception_that_leaves_a_callback_ends_the_update() {
    pm_error error = PM_ERROR_INIT;
    int destroyed = 0;
    bool caught = false;
    pm_store *other = store = open_with(place("pool.db"), 1000);
    add(store, "base");
    for (int round = 0; round < 3; round++) {
        try {
            pm_update_device(store, PM_LIT("base"), throw_from_update, &destroyed, &error);
            CHECK(!"reached");
        } catch (const std::runtime_error &thrown) {
            caught = std::strcmp(thrown.what(), "from an update") == 0;
        }
        CHECK(caught && destroyed == round + 1);
    }
    CHECK(error.code == 0); // nothing was reported: the call did not return
    CHECK(get("base")->size == 4096 && get("base")->error_len == 0 && get("base")->generation == 1);
    // The device is not locked any more, and this thread not inside an update.
    OK(pm_mark_faulty(other, PM_LIT("base"), why()));
    OK(pm_remove_device(other, PM_LIT("base"), why()));
    close_store(store);
}

int32_t throw_number(pm_device *, void *) {
    throw 42;
}

int32_t update_inside(pm_device *device, void *another) {
    device->state = PM_STATE_SUSPENDED;
    // An exception goes through two updates, of two stores, at once.
    return pm_update_device(static_cast<pm_store *>(another), PM_LIT("base"), throw_number, nullptr,
                            nullptr);
}

void exception_that_leaves_a_nested_callback_ends_both_updates() {
    pm_store *another = open_new("another.db");
    int caught = 0;
    add(another, "base");
    store = open_with(place("pool.db"), 1000);
    add(store, "base");
    try {
        pm_update_device(store, PM_LIT("base"), update_inside, another, nullptr);
    } catch (int number) {
        caught = number;
    }
    CHECK_INT(42, caught);
    CHECK_INT(PM_STATE_ACTIVATED, state_of(store, "base"));
    OK(pm_mark_faulty(store, PM_LIT("base"), why()));
    OK(pm_mark_faulty(another, PM_LIT("base"), why()));
    close_store(another);
    close_store(store);
}

int32_t throw_from_walk(const pm_device *device, void *seen) {
    auto &names = *static_cast<std::string *>(seen);
    names.append(device->name, device->name_len);
    if (names == "ab") {
        throw std::string("from a walk");
    }
    return 0;
}

void exception_that_leaves_a_callback_ends_the_walk() {
    std::string seen;
    std::string caught;
    store = open_with(place("pool.db"), 1000);
    add(store, "a");
    add(store, "b");
    add(store, "c");
    try {
        pm_walk_devices(store, throw_from_walk, &seen, nullptr);
        CHECK(!"reached");
    } catch (const std::string &thrown) {
        caught = thrown;
    }
    CHECK(caught == "from a walk" && seen == "ab");
    OK(pm_remove_device(store, PM_LIT("a"), why()));
    // No walk is left open, which would keep the store from being closed.
    close_store(store);
}

int32_t catch_inside(pm_device *device, void *) {
    try {
        throw std::runtime_error("caught where it came from");
    } catch (const std::exception &) {
        device->state = PM_STATE_CREATED;
    }
    return 0;
}

void exception_caught_inside_a_callback_ends_no_update() {
    store = open_new("pool.db");
    add(store, "base");
    OK(pm_update_device(store, PM_LIT("base"), catch_inside, nullptr, why()));
    CHECK_INT(PM_STATE_CREATED, state_of(store, "base"));
    close_store(store);
}

// A lambda without captures is a callback as well.
void lambda_is_taken_as_a_callback() {
    unsigned seen = 0;
    store = open_new("pool.db");
    add(store, "base");
    OK(pm_update_device(
        store, PM_LIT("base"),
        [](pm_device *device, void *) -> int32_t {
            device->size = 5;
            return 0;
        },
        nullptr, why()));
    OK(pm_walk_devices(
        store,
        [](const pm_device *device, void *count) -> int32_t {
            *static_cast<unsigned *>(count) += static_cast<unsigned>(device->size);
            return 0;
        },
        &seen, why()));
    CHECK_INT(5, seen);
    close_store(store);
}

const struct test tests[] = {
    NAMED(init_macros_and_lengths_compile_as_cpp),
    NAMED(records_are_read_from_a_vector),
    NAMED(exception_that_leaves_a_callback_ends_the_update),
    NAMED(exception_that_leaves_a_nested_callback_ends_both_updates),
    NAMED(exception_that_leaves_a_callback_ends_the_walk),
    NAMED(exception_caught_inside_a_callback_ends_no_update),
    NAMED(lambda_is_taken_as_a_callback),
};

} // namespace

TEST_MAIN(tests)
