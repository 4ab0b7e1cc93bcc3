"""A client in another runtime: Python's ctypes, and nothing but its standard library.

The structs are written out here by hand, from the header, as any foreign runtime would have them.
"""

import ctypes
import os
import re
import shutil
import struct
import sys
import tempfile
import threading
import traceback

size_t, u32, u64, i32 = ctypes.c_size_t, ctypes.c_uint32, ctypes.c_uint64, ctypes.c_int32
text, pointer = ctypes.c_char_p, ctypes.c_void_p


class Error(ctypes.Structure):
    _fields_ = [("struct_size", size_t), ("code", i32), ("callback_code", i32), ("os_error", i32),
                ("message", ctypes.c_char * 1024)]


class Device(ctypes.Structure):
    _fields_ = [("struct_size", size_t), ("size", u64), ("generation", u64), ("device_id", u32), ("state", i32),
                ("name", pointer), ("name_len", size_t), ("parent_name", pointer), ("parent_name_len", size_t),
                ("error", pointer), ("error_len", size_t), ("owner", pointer)]

    def text(self, field):
        """The bytes of a text: a pointer and a length, which may hold NULs."""
        return ctypes.string_at(getattr(self, field), getattr(self, field + "_len"))


class Options(ctypes.Structure):
    _fields_ = [("struct_size", size_t), ("flags", u32), ("max_readers", u32), ("map_size", u64),
                ("lock_wait_ms", u64), ("verify", i32), ("durability", i32)]


class Histogram(ctypes.Structure):
    _fields_ = [("count", u64), ("sum", u64), ("buckets", u64 * 40)]


class Stats(ctypes.Structure):
    _fields_ = [("struct_size", size_t)] + [(name, u64) for name in (
        "devices", "taken_ids", "free_ids", "faulty_ids", "last_id", "commits", "map_size", "map_used", "file_size",
        "page_size", "max_readers", "readers_in_use", "pages_free", "pages_held", "readers_active",
        "oldest_reader_commits", "reader_waits", "reader_refusals", "walks_open", "oldest_walk_ns", "writers_waiting",
        "writes_stopped")] + [("commit_operations", Histogram), ("commit_nanoseconds", Histogram)]


class Name(ctypes.Structure):
    _fields_ = [("name", pointer), ("name_len", size_t)]


class Names(ctypes.Structure):
    _fields_ = [("count", size_t), ("names", ctypes.POINTER(Name))]


class Finding(ctypes.Structure):
    _fields_ = [("struct_size", size_t), ("kind", i32), ("mend", i32), ("device_id", u32), ("name", pointer),
                ("name_len", size_t), ("text", pointer), ("text_len", size_t)]


class Report(ctypes.Structure):
    _fields_ = [("struct_size", size_t), ("total", u64), ("unmendable", u64), ("left", u64), ("count", size_t),
                ("findings", ctypes.POINTER(ctypes.POINTER(Finding))), ("backup", pointer), ("backup_len", size_t)]


class Salvaged(ctypes.Structure):
    _fields_ = [("struct_size", size_t), ("devices", u64), ("recovered", u64), ("lost_pages", u64), ("complete", u64)]


class Ids(ctypes.Structure):
    _fields_ = [("struct_size", size_t), ("last_id", u32), ("free_ids", ctypes.POINTER(u32)), ("free_count", size_t),
                ("faulty_ids", ctypes.POINTER(u32)), ("faulty_count", size_t)]


class Change(ctypes.Structure):
    _fields_ = [("kind", i32), ("device", ctypes.POINTER(Device))]


# struct pm_record, for the struct module: in a buffer of bytes there is no need for ctypes.
RECORD = struct.Struct("=IIQQiIII")
UpdateCallback = ctypes.CFUNCTYPE(i32, ctypes.POINTER(Device), pointer)
WalkCallback = ctypes.CFUNCTYPE(i32, ctypes.POINTER(Device), pointer)

ON_STORE = [pointer]
ON_DEVICE = [pointer, text, size_t]
SIGNATURES = {
    "pm_open": [text, size_t, pointer, pointer],
    "pm_close": ON_STORE,
    "pm_sync": ON_STORE,
    "pm_verify": ON_STORE,
    "pm_get_stats": ON_STORE + [ctypes.POINTER(Stats)],
    "pm_add_device": ON_STORE + [ctypes.POINTER(Device)],
    "pm_get_device": ON_DEVICE + [ctypes.POINTER(ctypes.POINTER(Device))],
    "pm_read_device": ON_DEVICE + [pointer, size_t, ctypes.POINTER(size_t)],
    "pm_change_device_state": ON_DEVICE + [i32],
    "pm_mark_faulty": ON_DEVICE,
    "pm_remove_device": ON_DEVICE,
    "pm_update_device": ON_DEVICE + [UpdateCallback, pointer],
    "pm_update_begin": ON_DEVICE + [ctypes.POINTER(pointer), ctypes.POINTER(ctypes.POINTER(Device))],
    "pm_update_commit": [pointer],
    "pm_device_set_error": [ctypes.POINTER(Device), text, size_t],
    "pm_device_set_parent_name": [ctypes.POINTER(Device), text, size_t],
    "pm_walk_devices": ON_STORE + [WalkCallback, pointer],
    "pm_walk_open": ON_STORE + [ctypes.POINTER(pointer)],
    "pm_walk_next": [pointer, pointer, size_t, ctypes.POINTER(size_t), ctypes.POINTER(size_t)],
    "pm_walk_get_ids": [pointer, ctypes.POINTER(ctypes.POINTER(Ids))],
    "pm_get_device_names": ON_STORE + [ctypes.POINTER(ctypes.POINTER(Names))],
    "pm_apply": ON_STORE + [ctypes.POINTER(Change), size_t, ctypes.POINTER(size_t)],
    "pm_apply_each": ON_STORE + [ctypes.POINTER(Change), size_t, pointer],
    "pm_import": ON_STORE + [text, size_t, ctypes.POINTER(Ids)],
    "pm_backup": ON_STORE + [text, size_t, u32],
    "pm_restore": [text, size_t, text, size_t, pointer, pointer],
    "pm_check": ON_STORE + [size_t, pointer],
    "pm_check_file": [text, size_t, pointer, size_t, pointer],
    "pm_repair": [text, size_t, pointer, pointer],
    "pm_salvage": [text, size_t, text, size_t, pointer, size_t, pointer, pointer],
}
OTHERS = {
    "pm_abi_version": (u32, []),
    "pm_version": (text, []),
    "pm_lmdb_version": (text, []),
    "pm_status_name": (text, [i32]),
    "pm_state_name": (text, [i32]),
    "pm_free": (None, [pointer]),
    "pm_update_abort": (None, [pointer]),
    "pm_walk_close": (None, [pointer]),
}

lib = ctypes.CDLL(os.environ["PM_LIBRARY"])
for name, arguments in SIGNATURES.items():
    getattr(lib, name).argtypes = arguments + [ctypes.POINTER(Error)]
    getattr(lib, name).restype = i32
for name, (result, arguments) in OTHERS.items():
    getattr(lib, name).argtypes = arguments
    getattr(lib, name).restype = result


class Refused(Exception):
    def __init__(self, error):
        super().__init__(error.message.decode("utf-8", "replace"))
        self.name = lib.pm_status_name(error.code).decode()
        self.callback_code = error.callback_code
        self.os_error = error.os_error


def call(function, *arguments):
    error = Error(struct_size=ctypes.sizeof(Error))
    status = getattr(lib, function)(*arguments, error)
    if status != 0:
        assert status == error.code, (status, error.code)
        raise Refused(error)
    assert error.code == 0 and error.message == b""


def refused(code, function, *arguments):
    try:
        call(function, *arguments)
    except Refused as refusal:
        assert refusal.name == code, f"{refusal.name} where {code} was due: {refusal}"
        return refusal
    raise AssertionError(f"{function} has not failed; {code} was due")


class Store:
    """A store that is closed, and its invariants checked, at the end."""

    def __init__(self, path, **options):
        self.handle = pointer()
        given = Options(struct_size=ctypes.sizeof(Options), **options)
        path = os.fsencode(path)
        call("pm_open", path, len(path), ctypes.byref(given), ctypes.byref(self.handle))

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        call("pm_verify", self.handle)
        call("pm_close", self.handle)
        refused("PM_ERR_CLOSED", "pm_close", self.handle)

    def on(self, function, name, *arguments):
        call(function, self.handle, name, len(name), *arguments)

    @staticmethod
    def device(name, parent=b"", error=b"", **fields):
        """A device struct, and the memory that its texts are in."""
        texts = [ctypes.create_string_buffer(each, len(each)) for each in (name, parent, error)]
        device = Device(struct_size=ctypes.sizeof(Device), **fields)
        for field, kept in zip(("name", "parent_name", "error"), texts):
            setattr(device, field, ctypes.addressof(kept))
            setattr(device, field + "_len", len(kept))
        return device, texts

    def add(self, name, **fields):
        device, _texts = self.device(name, **fields)
        call("pm_add_device", self.handle, ctypes.byref(device))
        return device.device_id

    def get(self, name):
        found = ctypes.POINTER(Device)()
        self.on("pm_get_device", name, ctypes.byref(found))
        device = found.contents
        result = (device.text("name"), device.device_id, device.size, device.state, device.text("parent_name"),
                  device.text("error"))
        lib.pm_free(found)
        return result

    def stats(self):
        stats = Stats(struct_size=ctypes.sizeof(Stats))
        call("pm_get_stats", self.handle, ctypes.byref(stats))
        return stats

    def names(self):
        names = ctypes.POINTER(Names)()
        call("pm_get_device_names", self.handle, ctypes.byref(names))
        listed = names.contents
        result = [ctypes.string_at(each.name, each.name_len) for each in listed.names[:listed.count]]
        lib.pm_free(names)
        return result


def parse_records(page, count):
    """The devices in a page, from its bytes alone."""
    at, devices = 0, []
    for _ in range(count):
        size, device_id, device_size, _, state, *lens = RECORD.unpack_from(page, at)
        texts, start = [], at + RECORD.size
        for length in lens:
            texts.append(bytes(page[start:start + length]))
            assert page[start + length] == 0, "a text ends in a NUL"
            start += length + 1
        assert size % 8 == 0 and at + size - start < 8
        devices.append((texts[0], device_id, device_size, state, texts[1], texts[2]))
        at += size
    return devices


def paged_walk(store, page_size):
    walk, devices = pointer(), []
    call("pm_walk_open", store.handle, ctypes.byref(walk))
    count, needed = size_t(1), size_t()
    page = ctypes.create_string_buffer(page_size)
    while count.value > 0:
        try:
            call("pm_walk_next", walk, page, len(page), ctypes.byref(count), ctypes.byref(needed))
        except Refused as refusal:
            assert refusal.name == "PM_ERR_BUFFER_TOO_SMALL", refusal
            page = ctypes.create_string_buffer(needed.value)
            continue
        devices += parse_records(page.raw, count.value)
    lib.pm_walk_close(walk)
    return devices


def test_versions(_):
    assert lib.pm_abi_version() == 0
    assert re.fullmatch(rb"\d+\.\d+\.\d+", lib.pm_version())
    assert lib.pm_lmdb_version().startswith(b"LMDB 0.9.")
    assert lib.pm_state_name(13) == b"Faulty" and lib.pm_state_name(14) is None


def test_every_function_of_the_header_is_declared_here(_):
    with open(os.environ["PM_EXPECTED_HEADER"], encoding="ascii") as header:
        declared = set(re.findall(r"^[\w ]+[ *](pm_\w+)\(", header.read(), re.MULTILINE))
    declared = {name for name in declared if not name.startswith("pm_record_")}
    assert declared == set(SIGNATURES) | set(OTHERS), declared ^ (set(SIGNATURES) | set(OTHERS))


def test_bytes_go_in_and_come_out(path):
    with Store(path) as store:
        assert store.add(b"base", size=2**64 - 1, state=4) == 1
        assert store.add(b"\xff\xfe\x01", parent=b"base", error=b"a\0b", state=13) == 2
        assert store.get(b"base") == (b"base", 1, 2**64 - 1, 4, b"", b"")
        assert store.get(b"\xff\xfe\x01") == (b"\xff\xfe\x01", 2, 0, 13, b"base", b"a\0b")
        assert store.names() == [b"base", b"\xff\xfe\x01"]
        stats = store.stats()
        assert (stats.devices, stats.taken_ids, stats.last_id, stats.commits) == (2, 2, 2, 2)
        assert (stats.commit_operations.count, stats.commit_operations.sum) == (2, 2)
        assert stats.commit_operations.buckets[0] == 2 and sum(stats.commit_nanoseconds.buckets) == 2
    with Store(path, flags=1, verify=2) as store:
        refusal = refused("PM_ERR_READ_ONLY", "pm_mark_faulty", store.handle, b"base", 4)
        assert path in str(refusal)
        assert store.get(b"base")[1] == 1


def test_a_device_s_life(path):
    with Store(path) as store:
        store.add(b"base")
        store.on("pm_change_device_state", b"base", 4)
        store.on("pm_mark_faulty", b"base")
        assert store.add(b"base", state=1) == 2
        store.on("pm_remove_device", b"base")
        assert store.add(b"other") == 2
        call("pm_sync", store.handle)


def test_refusals(path):
    with Store(path) as store:
        store.add(b"base")
        for code, function, *arguments in (
                ("PM_ERR_NOT_FOUND", "pm_remove_device", b"none", 4),
                ("PM_ERR_INVALID_STATE", "pm_change_device_state", b"base", 4, 14),
                ("PM_ERR_INVALID_ARGUMENT", "pm_mark_faulty", None, 4)):
            refused(code, function, store.handle, *arguments)
        refused("PM_ERR_ALREADY_OPEN", "pm_open", os.fsencode(path), len(os.fsencode(path)), None,
                ctypes.byref(pointer()))
        try:
            store.add(b"base")
        except Refused as refusal:
            assert refusal.name == "PM_ERR_ALREADY_EXISTS" and '"base"' in str(refusal)
        else:
            raise AssertionError("it was added twice")
    refused("PM_ERR_INVALID_ARGUMENT", "pm_verify", None)
    # With no error struct the status alone tells.
    assert lib.pm_verify(None, None) == 3


def test_update_with_a_callback(path):
    kept = ctypes.create_string_buffer(b"set by Python")

    @UpdateCallback
    def change(device, _):
        device.contents.size = 77
        device.contents.state = 6
        device.contents.error = ctypes.addressof(kept)
        device.contents.error_len = 13
        return 0

    @UpdateCallback
    def fail(device, user_data):
        device.contents.size = 0
        return -(user_data or 1)

    with Store(path) as store:
        store.add(b"base")
        store.on("pm_update_device", b"base", change, None)
        assert store.get(b"base") == (b"base", 1, 77, 6, b"", b"set by Python")
        for code in (1, 5, 2**31):
            refusal = refused("PM_ERR_CALLBACK", "pm_update_device", store.handle, b"base", 4, fail, code)
            assert refusal.callback_code == -code
        assert store.get(b"base")[2] == 77


def test_update_in_two_phases(path):
    with Store(path, lock_wait_ms=20) as store:
        store.add(b"base")
        update, record = pointer(), ctypes.POINTER(Device)()
        store.on("pm_update_begin", b"base", ctypes.byref(update), ctypes.byref(record))
        assert record.contents.text("name") == b"base"
        refused("PM_ERR_TIMEOUT", "pm_mark_faulty", store.handle, b"base", 4)
        record.contents.state = 2
        call("pm_device_set_error", record, b"one\0two", 7)
        call("pm_device_set_parent_name", record, b"root", 4)
        call("pm_update_commit", update)
        assert store.get(b"base") == (b"base", 1, 0, 2, b"root", b"one\0two")
        store.on("pm_update_begin", b"base", ctypes.byref(update), ctypes.byref(record))
        record.contents.device_id = 9
        refusal = refused("PM_ERR_IDENTITY_CHANGED", "pm_update_commit", update)
        assert "1" in str(refusal) and "9" in str(refusal)
        store.on("pm_update_begin", b"base", ctypes.byref(update), ctypes.byref(record))
        lib.pm_update_abort(update)


def test_walk_with_a_callback(path):
    seen = []

    @WalkCallback
    def visit(device, stop_at):
        seen.append(device.contents.text("name"))
        return 7 if len(seen) == stop_at else 0

    with Store(path) as store:
        for name in (b"b", b"a", b"c"):
            store.add(name)
        call("pm_walk_devices", store.handle, visit, None)
        assert seen == [b"a", b"b", b"c"]
        seen.clear()
        refusal = refused("PM_ERR_CALLBACK", "pm_walk_devices", store.handle, visit, 2)
        assert refusal.callback_code == 7 and seen == [b"a", b"b"]


def test_paged_walk_and_reading_into_a_buffer(path):
    with Store(path) as store:
        added = []
        for number in range(50):
            name = b"device-%02d" % number
            error = b"e" * (number * 40)
            device_id = store.add(name, parent=b"p" * number, error=error, size=number, state=number % 14)
            added.append((name, device_id, number, number % 14, b"p" * number, error))
        for page_size in (8, 100, 1000, 65536):
            assert paged_walk(store, page_size) == added
        page, needed = ctypes.create_string_buffer(4096), size_t()
        store.on("pm_read_device", b"device-49", page, len(page), ctypes.byref(needed))
        assert parse_records(page.raw, 1) == added[49:]


def test_a_pool_moves_to_another_store(path):
    with Store(path) as store, Store(path + "2") as copy:
        for name in (b"a", b"b", b"c"):
            store.add(name)
        store.on("pm_remove_device", b"b")
        walk, ids, count = pointer(), ctypes.POINTER(Ids)(), size_t()
        page = ctypes.create_string_buffer(4096)
        call("pm_walk_open", store.handle, ctypes.byref(walk))
        call("pm_walk_get_ids", walk, ctypes.byref(ids))
        call("pm_walk_next", walk, page, len(page), ctypes.byref(count), None)
        lib.pm_walk_close(walk)
        assert ids.contents.free_ids[:ids.contents.free_count] == [2]
        used, records = 0, page.raw
        for _ in range(count.value):
            used += RECORD.unpack_from(records, used)[0]
        call("pm_import", copy.handle, records, used, ids)
        refused("PM_ERR_NOT_EMPTY", "pm_import", copy.handle, records, used, ids)
        lib.pm_free(ids)
        assert copy.names() == [b"a", b"c"] and copy.add(b"d") == 2


def test_a_backup_is_put_back(path):
    backup = path + ".backup"
    with Store(path) as store:
        store.add(b"a")
        store.on("pm_backup", backup.encode(), 0)
        store.add(b"b")
        refused("PM_ERR_FILE_EXISTS", "pm_backup", store.handle, backup.encode(), len(backup), 0)
    kept = ctypes.POINTER(Name)()
    call("pm_restore", backup.encode(), len(backup), path.encode(), len(path), None, ctypes.byref(kept))
    old_path = ctypes.string_at(kept.contents.name, kept.contents.name_len).decode()
    assert old_path == path + ".before-restore"
    with Store(path) as store, Store(old_path) as old:
        assert store.names() == [b"a"] and old.names() == [b"a", b"b"]
    lib.pm_free(kept)


def test_a_damaged_store_is_checked_repaired_and_salvaged(path):
    with Store(path) as store:
        store.add(b"a")
        store.add(b"b", error=b"what happened")
    with open(path, "rb") as file:
        bytes_before = file.read()
    with open(path, "wb") as file:
        file.write(bytes_before.replace(b"what happened", b"what happens!"))
    name = path.encode()
    report = ctypes.POINTER(Report)()
    call("pm_check_file", name, len(name), None, 10, ctypes.byref(report))
    found = [report.contents.findings[i].contents for i in range(report.contents.count)]
    assert (found[0].kind, found[0].mend, ctypes.string_at(found[0].name)) == (4, 0, b"b")
    assert report.contents.unmendable == 1 and report.contents.left == report.contents.total == 3
    lib.pm_free(report)
    call("pm_repair", name, len(name), None, ctypes.byref(report))
    assert report.contents.left == 1
    assert ctypes.string_at(report.contents.backup) == name + b".before-repair-1"
    lib.pm_free(report)
    target, salvaged = name + b".new", Salvaged(struct_size=ctypes.sizeof(Salvaged))
    call("pm_salvage", name, len(name), target, len(target), None, 0, ctypes.byref(salvaged), ctypes.byref(report))
    assert (salvaged.devices, salvaged.complete) == (1, 0) and report.contents.count == report.contents.total
    lib.pm_free(report)
    with Store(target.decode()) as store:
        assert store.names() == [b"a"] and store.add(b"c") == 3
        call("pm_check", store.handle, 0, ctypes.byref(report))
        assert report.contents.total == 0
        lib.pm_free(report)


def test_a_list_of_changes(path):
    with Store(path) as store:
        made = [store.device(name) for name in (b"a", b"b", b"a")]
        changes = (Change * 3)(*[Change(0, ctypes.pointer(device)) for device, _ in made])
        position = size_t(99)
        refused("PM_ERR_ALREADY_EXISTS", "pm_apply", store.handle, changes, 3, ctypes.byref(position))
        assert position.value == 2 and store.names() == []
        changes[2].kind = 4
        call("pm_apply", store.handle, changes, 3, ctypes.byref(position))
        assert store.names() == [b"b"] and [device.device_id for device, _ in made] == [1, 2, 1]
        errors = (Error * 3)(*[Error(struct_size=ctypes.sizeof(Error)) for _ in range(3)])
        refused("PM_ERR_ALREADY_EXISTS", "pm_apply_each", store.handle, changes, 3, errors)
        assert [error.code for error in errors] == [0, 2, 0] and b'"b"' in errors[1].message
        assert store.names() == [b"b"]


def test_threads(path):
    failures = []

    def work(store, number):
        try:
            for step in range(50):
                name = b"%d-%d" % (number, step)
                store.add(name)
                assert store.get(name)[0] == name
                store.on("pm_mark_faulty", name)
        except BaseException:  # pylint: disable=broad-except  # told to the main thread
            failures.append(traceback.format_exc())

    with Store(path) as store:
        threads = [threading.Thread(target=work, args=(store, number)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures, failures[0]
        assert store.stats().devices == 400 and store.stats().faulty_ids == 400


def main():
    tests = [(name, run) for name, run in globals().items() if name.startswith("test_")]
    print(f"plan test_ctypes {len(tests)}", flush=True)
    directory = tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    try:
        for name, run in tests:
            run(os.path.join(directory, name + ".db"))
            print(f"ok test_ctypes: {name[5:]}", flush=True)
    except Exception:  # pylint: disable=broad-except  # whatever it is, the test has failed
        print(f"FAILED test_ctypes: {traceback.format_exc()}")
        return 1
    finally:
        shutil.rmtree(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
