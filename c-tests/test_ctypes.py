"""Tests of the client in pool_metadata.py: the library as another language's runtime calls it."""

import ctypes
import os
import re
import sys
import threading
import traceback

from pool_metadata import (call, lib, OTHERS, paged_walk, parse_records, RECORD, Refused, refused,
                           SIGNATURES, Store, UpdateCallback, WalkCallback)
from runner import run_tests
from structs import (Change, Device, Error, Ids, Intent, Name, Options, pointer, PoolState,
                     Reconciliation, Report, Restored, Salvaged, size_t,
                     STRUCTS, text)


def test_versions(_):
    assert lib.pm_abi_version() == 0
    assert re.fullmatch(rb"\d+\.\d+\.\d+", lib.pm_version())
    assert lib.pm_lmdb_version().startswith(b"LMDB 0.9.")
    assert lib.pm_state_name(13) == b"Faulty" and lib.pm_state_name(14) is None
    assert lib.pm_finding_name(7) == b"SharedId" and lib.pm_finding_name(0) is None
    assert lib.pm_fix_name(3) == b"MakeFaulty" and lib.pm_fix_name(5) is None


def test_structs_have_the_library_s_sizes(_):
    for kind in STRUCTS:
        name = re.sub(r"(?<!^)([A-Z])", r"_\1", kind.__name__).lower().encode()
        assert lib.pm_struct_size(b"pm_" + name, 3 + len(name)) == ctypes.sizeof(kind), name
    assert lib.pm_struct_size(b"pm_record", 9) == RECORD.size


def test_every_function_of_the_header_is_declared_here(_):
    with open(os.environ["PM_EXPECTED_HEADER"], encoding="ascii") as header:
        declared = set(re.findall(r"^[\w ]+[ *](pm_\w+)\(", header.read(), re.MULTILINE))
    declared = {name for name in declared if not name.startswith("pm_record_")}
    assert declared == set(SIGNATURES) | set(OTHERS), declared ^ (set(SIGNATURES) | set(OTHERS))


def test_store_is_kept_in_step_with_its_pool(path):
    with Store(path, identity=b"pool", identity_len=4) as store:
        for name in (b"a", b"b", b"c"):
            store.add(name, parent=b"base", state=4)
        new_id, count = ctypes.c_uint32(), ctypes.c_uint64()
        store.on("pm_replace_device_id", b"b", 2, ctypes.byref(new_id))
        assert new_id.value == 4
        assert store.ids(1 << 2) == [(2, 2, b"")]
        refused("PM_ERR_ID_IN_USE", "pm_free_id", store.handle, 4)
        call("pm_free_id", store.handle, 2)
        refused("PM_ERR_ID_NOT_FAULTY", "pm_free_id", store.handle, 2)
        ids = (ctypes.c_uint32 * 3)(2, 3, 6)
        call("pm_mark_ids_faulty", store.handle, ids, 3, ctypes.byref(count))
        assert count.value == 2
        call("pm_free_faulty_ids", store.handle, ids, 1, ctypes.byref(count))
        assert count.value == 1
        call("pm_mark_ids_faulty_up_to", store.handle, 7, ctypes.byref(count))
        assert count.value == 3
        assert store.ids(0)[:2] == [(1, 1, b"a"), (2, 2, b"")]
        assert store.by_id(3) == b"c"
        number = store.begin_intent(1, b"new", 9, 2**64 - 1)
        assert store.intents() == [(number, 1, b"new", 9, 2**64 - 1)]
        call("pm_finish_intent", store.handle, number)
        refused("PM_ERR_NOT_FOUND", "pm_finish_intent", store.handle, number)
        store.on("pm_remove_device", b"c")
        assert store.changes(3) == ([b"b"], [(b"c", 3)], True)
        assert store.reconcile([1, 4, 9], [b"a", b"b", b"x"]) == (
            [(3, 2, b"", 9), (5, 1, b"", 2), (5, 1, b"", 5), (5, 1, b"", 6), (5, 1, b"", 7),
             (7, 0, b"x", 0)], 5)
        assert store.reconcile([1, 4], []) == (
            [(6, 4, b"a", 1), (6, 4, b"b", 4), (5, 1, b"", 9)], 3)
        assert store.reconcile(names=[]) == ([], 0)
        refused("PM_ERR_INVALID_ARGUMENT", "pm_reconcile", store.handle,
                ctypes.byref(PoolState(struct_size=ctypes.sizeof(PoolState))),
                ctypes.byref(ctypes.POINTER(Reconciliation)()))
        assert store.ids(1 << 2) == [(1, 2, b""), (4, 2, b"")]
        assert store.identity() == b"pool"
        call("pm_set_identity", store.handle, b"other", 5)
    refused("PM_ERR_OTHER_POOL", "pm_open", os.fsencode(path), len(os.fsencode(path)),
            ctypes.byref(Options(struct_size=ctypes.sizeof(Options), identity=b"pool",
                                 identity_len=4)), ctypes.byref(ctypes.c_void_p()))


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
        assert stats.commit_operations.buckets[0] == 2
        assert sum(stats.commit_nanoseconds.buckets) == 2
        assert stats.flushes >= 2 and stats.undone_commits == 0
        walk = ctypes.c_void_p()
        call("pm_walk_open", store.handle, ctypes.byref(walk))
        (pid, behind, age), = store.running_reads()
        assert (pid, behind, age > 0) == (os.getpid(), 0, True)
        lib.pm_walk_close(walk)
        assert store.running_reads() == []
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


def test_deferred_writes(path):
    with Store(path) as store:
        deferred = store.deferred()
        deferred.add(b"base")
        deferred.on("pm_change_device_state", b"base", 4)
        assert store.get(b"base")[3] == 4
        call("pm_sync", store.handle)
        deferred.end()
        refused("PM_ERR_CLOSED", "pm_close", deferred.handle)
        assert store.get(b"base")[1] == 1


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
            refusal = refused("PM_ERR_CALLBACK", "pm_update_device", store.handle, b"base", 4, fail,
                              code)
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
            device_id = store.add(name, parent=b"p" * number, error=error, size=number,
                                  state=number % 14)
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
    restored = Restored(struct_size=ctypes.sizeof(Restored))
    call("pm_restore", backup.encode(), len(backup), path.encode(), len(path), None,
         ctypes.byref(restored), ctypes.byref(kept))
    assert (restored.commits + 1, restored.last_id) == (restored.replaced_commits, 1)
    assert restored.replaced_last_id == 2
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
    assert (found[0].kind, found[0].fix, ctypes.string_at(found[0].name)) == (4, 0, b"b")
    assert report.contents.unfixable == 1 and report.contents.left == report.contents.total == 3
    lib.pm_free(report)
    call("pm_repair", name, len(name), None, ctypes.byref(report))
    assert report.contents.left == 1
    assert ctypes.string_at(report.contents.backup) == name + b".before-repair-1"
    lib.pm_free(report)
    target, salvaged = name + b".new", Salvaged(struct_size=ctypes.sizeof(Salvaged))
    call("pm_salvage", name, len(name), target, len(target), None, 0, ctypes.byref(salvaged),
         ctypes.byref(report))
    assert (salvaged.devices, salvaged.complete, salvaged.last_id) == (1, 0, 2)
    assert report.contents.count == report.contents.total
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
        refused("PM_ERR_ALREADY_EXISTS", "pm_apply", store.handle, changes, 3,
                ctypes.byref(position))
        assert position.value == 2 and store.names() == []
        changes[2].kind = 4
        call("pm_apply", store.handle, changes, 3,
                ctypes.byref(position))
        assert store.names() == [b"b"] and [device.device_id for device, _ in made] == [1, 2, 1]
        errors = (Error * 3)(*[Error(struct_size=ctypes.sizeof(Error)) for _ in range(3)])
        refused("PM_ERR_ALREADY_EXISTS", "pm_apply_each", store.handle, changes, 3, errors)
        assert [error.code for error in errors] == [0, 2, 0] and b'"b"' in errors[1].message
        assert store.names() == [b"b"]


def test_a_list_of_changes_of_ids_and_intents(path):
    with Store(path) as store:
        marked, ids = ctypes.c_uint64(), (ctypes.c_uint32 * 2)(1, 3)
        name = ctypes.create_string_buffer(b"a", 1)
        device, _kept = store.device(b"a")
        intent = Intent(struct_size=ctypes.sizeof(Intent), kind=1, device_id=2,
                        name=ctypes.addressof(name), name_len=1)
        changes = (Change * 3)(Change(8, None, ids, 2, ctypes.pointer(marked)),
                               Change(0, ctypes.pointer(device)),
                               Change(10, intent=ctypes.pointer(intent)))
        call("pm_apply", store.handle, changes, 3, None)
        assert (marked.value, device.device_id, intent.number, intent.commit) == (2, 2, 1, 1)
        assert [row[0] for row in store.intents()] == [1]
        changes[1] = Change(11, intent=ctypes.pointer(intent))
        changes[2] = Change(7, None, ids, 1)
        call("pm_apply_each", store.handle, changes, 3, None)
        assert marked.value == 0 and store.intents() == []
        assert store.ids(1 << 2) == [(1, 2, b"")]


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


if __name__ == "__main__":
    sys.exit(run_tests("test_ctypes", globals()))
