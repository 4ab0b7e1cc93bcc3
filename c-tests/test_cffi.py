"""Python's cffi as a client: it reads the header itself, and needs no struct written out by hand.

What the preprocessor makes of the header, with PM_NO_INLINE, is all that cffi needs. The constants,
which are macros, come from the header's text.
"""

import os
import re
import subprocess
import sys

import cffi

from runner import run_tests

HEADER = os.environ["PM_EXPECTED_HEADER"]
ffi = cffi.FFI()
ffi.cdef(subprocess.check_output(
    [os.environ.get("CC", "cc"), "-E", "-P", "-x", "c", "-DPM_NO_INLINE", HEADER], text=True))
lib = ffi.dlopen(os.environ["PM_LIBRARY"])
with open(HEADER, encoding="ascii") as header_file:
    text_of_header = header_file.read()
constants = {name: int(value) for name, value in
             re.findall(r"^#define (PM_\w+) (\d+)$", text_of_header, re.MULTILINE)}


def struct(name):
    """A struct that begins with its own size."""
    made = ffi.new(name + " *")
    made.struct_size = ffi.sizeof(name)
    return made


def call(function, *arguments):
    error = struct("pm_error")
    status = function(*arguments, error)
    if status != constants["PM_OK"]:
        raise OSError(ffi.string(lib.pm_status_name(status)).decode(),
                      ffi.string(error.message).decode())


def test_every_struct_has_the_library_s_size(_):
    names = re.findall(r"^\} (pm_\w+);$", text_of_header, re.MULTILINE)
    assert len(names) > 10, names
    for name in names:
        assert lib.pm_struct_size(name.encode(), len(name)) == ffi.sizeof(name) > 0, name
    for name in (b"", b"pm_store", b"pm_device ", b"pm_devic", b"pm_device\0"):
        assert lib.pm_struct_size(name, len(name)) == 0, name
    assert lib.pm_struct_size(ffi.NULL, 0) == 0


def test_a_device_s_life(path):
    path = path.encode()
    store, device = ffi.new("pm_store **"), struct("pm_device")
    name = ffi.new("char[]", b"base")
    device.name, device.name_len, device.size = name, 4, 10 << 30
    call(lib.pm_open, path, len(path), ffi.NULL, store)
    call(lib.pm_add_device, store[0], device)
    assert device.device_id == 1
    update, record = ffi.new("pm_update **"), ffi.new("pm_device **")
    call(lib.pm_update_begin, store[0], b"base", 4, update, record)
    record[0].state = constants["PM_STATE_SUSPENDED"]
    call(lib.pm_update_commit, update[0])
    buffer, needed = ffi.new("uint64_t[256]"), ffi.new("size_t *")
    call(lib.pm_read_device, store[0], b"base", 4, buffer, ffi.sizeof(buffer), needed)
    read = ffi.cast("pm_record *", buffer)
    assert (read.device_id, read.state, read.name_len, read.size) == (1, 6, 4, 10 << 30)
    assert ffi.buffer(read + 1, read.name_len)[:] == b"base"
    try:
        call(lib.pm_remove_device, store[0], b"none", 4)
        raise AssertionError("a device that is not there was removed")
    except OSError as refused:
        assert refused.args[0] == "PM_ERR_NOT_FOUND" and "none" in refused.args[1]
    call(lib.pm_close, store[0])


def test_a_callback_is_called(path):
    path = path.encode()
    names = []

    @ffi.callback("pm_walk_callback")
    def visit(device, _):
        names.append(ffi.buffer(device.name, device.name_len)[:])
        return len(names) // 2

    store = ffi.new("pm_store **")
    call(lib.pm_open, path, len(path), ffi.NULL, store)
    for name in (b"a", b"b", b"c"):
        device, kept = struct("pm_device"), ffi.new("char[]", name)
        device.name, device.name_len = kept, 1
        call(lib.pm_add_device, store[0], device)
    try:
        call(lib.pm_walk_devices, store[0], visit, ffi.NULL)
        raise AssertionError("the walk went on")
    except OSError as refused:
        assert refused.args[0] == "PM_ERR_CALLBACK"
    assert names == [b"a", b"b"]
    call(lib.pm_close, store[0])


def test_numbers_have_names(_):
    for prefix, name_of in (("PM_FINDING_", lib.pm_finding_name), ("PM_FIX_", lib.pm_fix_name)):
        found = {value: name for name, value in constants.items() if name.startswith(prefix)}
        assert len(found) > 3
        for value, name in found.items():
            plain = name[len(prefix):].replace("_", "").lower()
            assert ffi.string(name_of(value)).decode().lower() == plain
        for value in (-1, max(found) + 1, 2**31 - 1, -2**31):
            assert name_of(value) == ffi.NULL
    assert lib.pm_finding_name(0) == ffi.NULL


if __name__ == "__main__":
    sys.exit(run_tests("test_cffi", globals()))
