"""The structs of the C header, written out by hand, as any foreign runtime would have them."""

import ctypes

size_t, u32, u64, i32 = ctypes.c_size_t, ctypes.c_uint32, ctypes.c_uint64, ctypes.c_int32
text, pointer = ctypes.c_char_p, ctypes.c_void_p


class Error(ctypes.Structure):
    _fields_ = [("struct_size", size_t), ("code", i32), ("callback_code", i32), ("os_error", i32),
                ("message", ctypes.c_char * 1024)]


class Device(ctypes.Structure):
    _fields_ = [("struct_size", size_t), ("size", u64), ("generation", u64), ("device_id", u32),
                ("state", i32), ("name", pointer), ("name_len", size_t), ("parent_name", pointer),
                ("parent_name_len", size_t), ("error", pointer),
                ("error_len", size_t), ("owner", pointer)]

    def text(self, field):
        """The bytes of a text: a pointer and a length, which may hold NULs."""
        return ctypes.string_at(getattr(self, field), getattr(self, field + "_len"))


class Options(ctypes.Structure):
    _fields_ = [("struct_size", size_t), ("flags", u32), ("max_readers", u32), ("map_size", u64),
                ("lock_wait_ms", u64), ("verify", i32), ("durability", i32),
                ("identity", text), ("identity_len", size_t), ("max_pinned_growth", u64),
                ("deferred_commits", u64), ("deferred_age_ms", u64)]


class Histogram(ctypes.Structure):
    _fields_ = [("count", u64), ("sum", u64), ("buckets", u64 * 40)]


class Stats(ctypes.Structure):
    _fields_ = [("struct_size", size_t)] + [(name, u64) for name in (
        "devices", "taken_ids", "free_ids", "faulty_ids", "last_id", "commits", "map_size",
        "map_used", "file_size", "page_size", "max_readers", "readers_in_use", "pages_free",
        "pages_held", "readers_active", "oldest_reader_commits", "reader_waits", "reader_refusals",
        "walks_open", "oldest_walk_ns", "writers_waiting", "writes_stopped", "is_copy")
    ] + [("commit_operations", Histogram), ("commit_nanoseconds", Histogram),
         ("flushes", u64), ("undone_commits", u64), ("deferred_commits", u64)]


class Name(ctypes.Structure):
    _fields_ = [("name", pointer), ("name_len", size_t)]


class Names(ctypes.Structure):
    _fields_ = [("count", size_t), ("names", ctypes.POINTER(Name))]


class RunningRead(ctypes.Structure):
    _fields_ = [("struct_size", size_t), ("commits_behind", u64), ("age_ns", u64), ("pid", u32)]


class RunningReads(ctypes.Structure):
    _fields_ = [("struct_size", size_t), ("count", size_t),
                ("reads", ctypes.POINTER(ctypes.POINTER(RunningRead)))]


class Finding(ctypes.Structure):
    _fields_ = [("struct_size", size_t), ("kind", i32), ("fix", i32), ("device_id", u32),
                ("name", pointer), ("name_len", size_t), ("text", pointer), ("text_len", size_t)]


class Report(ctypes.Structure):
    _fields_ = [("struct_size", size_t), ("total", u64), ("unfixable", u64), ("left", u64),
                ("count", size_t), ("findings", ctypes.POINTER(ctypes.POINTER(Finding))),
                ("backup", pointer), ("backup_len", size_t)]


class Salvaged(ctypes.Structure):
    _fields_ = [("struct_size", size_t), ("devices", u64), ("recovered", u64), ("lost_pages", u64),
                ("complete", u64), ("commits", u64), ("last_id", u32)]


class Restored(ctypes.Structure):
    _fields_ = [("struct_size", size_t), ("commits", u64), ("replaced_commits", u64),
                ("last_id", u32), ("replaced_last_id", u32)]


class Ids(ctypes.Structure):
    _fields_ = [("struct_size", size_t), ("last_id", u32), ("free_ids", ctypes.POINTER(u32)),
                ("free_count", size_t), ("faulty_ids", ctypes.POINTER(u32)),
                ("faulty_count", size_t)]


class Id(ctypes.Structure):
    _fields_ = [("device_id", u32), ("state", i32), ("name", pointer), ("name_len", size_t)]


class IdList(ctypes.Structure):
    _fields_ = [("count", size_t), ("ids", ctypes.POINTER(Id))]


class Filter(ctypes.Structure):
    _fields_ = [("struct_size", size_t), ("states", u32), ("first_id", u32), ("last_id", u32),
                ("parent_name", text), ("parent_name_len", size_t), ("since", u64)]


class Intent(ctypes.Structure):
    _fields_ = [("struct_size", size_t), ("number", u64), ("commit", u64),
                ("transaction_id", u64), ("kind", i32), ("device_id", u32), ("name", pointer),
                ("name_len", size_t)]


class Change(ctypes.Structure):
    _fields_ = [("kind", i32), ("device", ctypes.POINTER(Device)), ("ids", ctypes.POINTER(u32)),
                ("id_count", size_t), ("changed", ctypes.POINTER(u64)),
                ("intent", ctypes.POINTER(Intent))]


class IntentList(ctypes.Structure):
    _fields_ = [("count", size_t), ("intents", ctypes.POINTER(ctypes.POINTER(Intent)))]


class Removal(ctypes.Structure):
    _fields_ = [("struct_size", size_t), ("commit", u64), ("device_id", u32), ("name", pointer),
                ("name_len", size_t)]


class Removals(ctypes.Structure):
    _fields_ = [("struct_size", size_t), ("commit", u64), ("complete", i32), ("count", size_t),
                ("removals", ctypes.POINTER(ctypes.POINTER(Removal)))]


class PoolState(ctypes.Structure):
    _fields_ = [("struct_size", size_t), ("device_ids", ctypes.POINTER(u32)),
                ("device_count", size_t), ("snapshots", ctypes.POINTER(Name)),
                ("snapshot_count", size_t), ("commit", u64), ("in_use", i32)]


class Difference(ctypes.Structure):
    _fields_ = [("struct_size", size_t), ("generation", u64), ("kind", i32), ("action", i32),
                ("state", i32), ("device_id", u32), ("in_pool", i32), ("delete_from_pool", i32),
                ("name", pointer), ("name_len", size_t), ("text", pointer), ("text_len", size_t)]


class Reconciliation(ctypes.Structure):
    _fields_ = [("struct_size", size_t), ("commit", u64), ("in_both", u64), ("newer", u64),
                ("count", size_t), ("differences", ctypes.POINTER(ctypes.POINTER(Difference)))]


STRUCTS = [Error, Device, Options, Histogram, Stats, Name, Names, RunningRead, RunningReads,
           Finding, Report, Salvaged, Restored, Ids, Change, Id, IdList, Filter, Intent,
           IntentList, Removal, Removals, PoolState, Difference, Reconciliation]
