"""A client in another runtime: Python's ctypes, and nothing but its standard library. Its structs
are in structs.py.
"""

import ctypes
import os
import struct

from structs import (Change, Device, Difference, Error, Filter, i32, Id, IdList, Ids, Intent,
                     IntentList, Name, Names, Options, pointer, PoolState, Reconciliation,
                     Removals, RunningReads, size_t, Stats, text, u32, u64)

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
    "pm_deferred": ON_STORE + [ctypes.POINTER(pointer)],
    "pm_verify": ON_STORE,
    "pm_get_stats": ON_STORE + [ctypes.POINTER(Stats)],
    "pm_add_device": ON_STORE + [ctypes.POINTER(Device)],
    "pm_get_device": ON_DEVICE + [ctypes.POINTER(ctypes.POINTER(Device))],
    "pm_read_device": ON_DEVICE + [pointer, size_t, ctypes.POINTER(size_t)],
    "pm_change_device_state": ON_DEVICE + [i32],
    "pm_mark_faulty": ON_DEVICE,
    "pm_remove_device": ON_DEVICE,
    "pm_update_device": ON_DEVICE + [UpdateCallback, pointer],
    "pm_update_begin":
        ON_DEVICE + [ctypes.POINTER(pointer), ctypes.POINTER(ctypes.POINTER(Device))],
    "pm_update_commit": [pointer],
    "pm_device_set_error": [ctypes.POINTER(Device), text, size_t],
    "pm_device_set_parent_name": [ctypes.POINTER(Device), text, size_t],
    "pm_walk_devices": ON_STORE + [WalkCallback, pointer],
    "pm_walk_open": ON_STORE + [ctypes.POINTER(pointer)],
    "pm_walk_next": [pointer, pointer, size_t, ctypes.POINTER(size_t), ctypes.POINTER(size_t)],
    "pm_walk_get_ids": [pointer, ctypes.POINTER(ctypes.POINTER(Ids))],
    "pm_get_device_names": ON_STORE + [ctypes.POINTER(ctypes.POINTER(Names))],
    "pm_get_running_reads": ON_STORE + [ctypes.POINTER(ctypes.POINTER(RunningReads))],
    "pm_apply": ON_STORE + [ctypes.POINTER(Change), size_t, ctypes.POINTER(size_t)],
    "pm_apply_each": ON_STORE + [ctypes.POINTER(Change), size_t, pointer],
    "pm_get_device_by_id": ON_STORE + [u32, ctypes.POINTER(ctypes.POINTER(Device))],
    "pm_list_ids": ON_STORE + [u32, u32, u32, ctypes.POINTER(ctypes.POINTER(IdList))],
    "pm_free_id": ON_STORE + [u32],
    "pm_free_faulty_ids": ON_STORE + [ctypes.POINTER(u32), size_t, ctypes.POINTER(u64)],
    "pm_mark_ids_faulty": ON_STORE + [ctypes.POINTER(u32), size_t, ctypes.POINTER(u64)],
    "pm_mark_ids_faulty_up_to": ON_STORE + [u32, ctypes.POINTER(u64)],
    "pm_replace_device_id": ON_DEVICE + [u32, ctypes.POINTER(u32)],
    "pm_walk_open_filtered": ON_STORE + [ctypes.POINTER(Filter), ctypes.POINTER(pointer)],
    "pm_walk_get_removals": [pointer, u64, ctypes.POINTER(ctypes.POINTER(Removals))],
    "pm_begin_intent": ON_STORE + [ctypes.POINTER(Intent)],
    "pm_finish_intent": ON_STORE + [u64],
    "pm_list_intents": ON_STORE + [ctypes.POINTER(ctypes.POINTER(IntentList))],
    "pm_reconcile":
        ON_STORE + [ctypes.POINTER(PoolState), ctypes.POINTER(ctypes.POINTER(Reconciliation))],
    "pm_apply_reconciliation":
        ON_STORE + [ctypes.POINTER(ctypes.POINTER(Difference)), size_t, ctypes.POINTER(u64)],
    "pm_get_identity": ON_STORE + [ctypes.POINTER(ctypes.POINTER(Name))],
    "pm_set_identity": ON_STORE + [text, size_t],
    "pm_import": ON_STORE + [text, size_t, ctypes.POINTER(Ids)],
    "pm_backup": ON_STORE + [text, size_t, u32],
    "pm_restore": [text, size_t, text, size_t, pointer, pointer, pointer],
    "pm_compact": [text, size_t, pointer, ctypes.POINTER(u64), ctypes.POINTER(u64)],
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
    "pm_finding_name": (text, [i32]),
    "pm_fix_name": (text, [i32]),
    "pm_struct_size": (size_t, [text, size_t]),
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

    def deferred(self):
        """The store by another handle, whose writes may be deferred; end it with `end`."""
        other = Store.__new__(Store)
        other.handle = pointer()
        call("pm_deferred", self.handle, ctypes.byref(other.handle))
        return other

    def end(self):
        call("pm_close", self.handle)

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
        result = (device.text("name"), device.device_id, device.size, device.state,
                  device.text("parent_name"), device.text("error"))
        lib.pm_free(found)
        return result

    def stats(self):
        stats = Stats(struct_size=ctypes.sizeof(Stats))
        call("pm_get_stats", self.handle, ctypes.byref(stats))
        return stats

    def running_reads(self):
        """Process, commits behind and nanoseconds (0: not known) of each, oldest first."""
        reads = ctypes.POINTER(RunningReads)()
        call("pm_get_running_reads", self.handle, ctypes.byref(reads))
        listed = [each.contents for each in reads.contents.reads[:reads.contents.count]]
        result = [(each.pid, each.commits_behind, each.age_ns) for each in listed]
        lib.pm_free(reads)
        return result

    def ids(self, states):
        """Id, state and name of each, in ascending order."""
        listed = ctypes.POINTER(IdList)()
        call("pm_list_ids", self.handle, states, 0, 0, ctypes.byref(listed))
        result = [(each.device_id, each.state, ctypes.string_at(each.name, each.name_len))
                  for each in listed.contents.ids[:listed.contents.count]]
        lib.pm_free(listed)
        return result

    def by_id(self, device_id):
        """The name of the device."""
        found = ctypes.POINTER(Device)()
        call("pm_get_device_by_id", self.handle, device_id, ctypes.byref(found))
        name = found.contents.text("name")
        lib.pm_free(found)
        return name

    def begin_intent(self, kind, name, device_id, transaction_id):
        kept = ctypes.create_string_buffer(name, len(name))
        intent = Intent(struct_size=ctypes.sizeof(Intent), kind=kind, device_id=device_id,
                        transaction_id=transaction_id, name=ctypes.addressof(kept),
                        name_len=len(name))
        call("pm_begin_intent", self.handle, ctypes.byref(intent))
        return intent.number

    def intents(self):
        """Number, kind, name, device id and transaction id of each."""
        listed = ctypes.POINTER(IntentList)()
        call("pm_list_intents", self.handle, ctypes.byref(listed))
        result = [(each.number, each.kind, ctypes.string_at(each.name, each.name_len),
                   each.device_id, each.transaction_id)
                  for each in (at.contents
                               for at in listed.contents.intents[:listed.contents.count])]
        lib.pm_free(listed)
        return result

    def changes(self, since):
        """The names that were written, name and id of those that were removed, if all are known."""
        wanted = Filter(struct_size=ctypes.sizeof(Filter), since=since)
        walk, listed = pointer(), ctypes.POINTER(Removals)()
        call("pm_walk_open_filtered", self.handle, ctypes.byref(wanted), ctypes.byref(walk))
        call("pm_walk_get_removals", walk, since, ctypes.byref(listed))
        gone = [at.contents for at in listed.contents.removals[:listed.contents.count]]
        gone = [(ctypes.string_at(each.name, each.name_len), each.device_id) for each in gone]
        complete = listed.contents.complete == 1
        lib.pm_free(listed)
        count, page = size_t(), ctypes.create_string_buffer(4096)
        call("pm_walk_next", walk, page, len(page), ctypes.byref(count), None)
        lib.pm_walk_close(walk)
        return [device[0] for device in parse_records(page.raw, count.value)], gone, complete

    def reconcile(self, ids=None, names=None):
        """Kind, action, name and id of each difference; then applies them, and says how many."""
        pool = PoolState(struct_size=ctypes.sizeof(PoolState))
        if ids is not None:
            # No ids are an array too, which is not NULL.
            pool.device_ids = (u32 * max(1, len(ids)))(*ids)
            pool.device_count = len(ids)
        kept = [ctypes.create_string_buffer(name, len(name)) for name in names or ()]
        if names is not None:
            # No names are an array too, which is not NULL.
            pool.snapshots = (Name * max(1, len(kept)))(
                *(Name(ctypes.addressof(name), len(name)) for name in kept))
            pool.snapshot_count = len(kept)
        found, applied = ctypes.POINTER(Reconciliation)(), u64()
        call("pm_reconcile", self.handle, ctypes.byref(pool), ctypes.byref(found))
        count, listed = found.contents.count, found.contents.differences
        result = [(each.kind, each.action, ctypes.string_at(each.name, each.name_len),
                   each.device_id) for each in (at.contents for at in listed[:count])]
        call("pm_apply_reconciliation", self.handle, listed, count, ctypes.byref(applied))
        lib.pm_free(found)
        return result, applied.value

    def identity(self):
        found = ctypes.POINTER(Name)()
        call("pm_get_identity", self.handle, ctypes.byref(found))
        result = ctypes.string_at(found.contents.name, found.contents.name_len)
        lib.pm_free(found)
        return result

    def names(self):
        names = ctypes.POINTER(Names)()
        call("pm_get_device_names", self.handle, ctypes.byref(names))
        listed = names.contents.names[:names.contents.count]
        result = [ctypes.string_at(each.name, each.name_len) for each in listed]
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
