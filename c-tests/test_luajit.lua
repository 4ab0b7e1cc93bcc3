-- LuaJIT as a client: it reads the header itself, preprocessed with PM_NO_INLINE.

local ffi = require("ffi")
local header = os.getenv("PM_EXPECTED_HEADER")

local function output_of(command)
    local pipe = assert(io.popen(command))
    local text = pipe:read("*a")
    pipe:close()
    return text
end

local cc = os.getenv("CC") or "cc"
ffi.cdef(output_of(cc .. " -E -P -x c -DPM_NO_INLINE '" .. header .. "'"))
local lib = ffi.load(os.getenv("PM_LIBRARY"))

-- The constants are macros, which LuaJIT does not read.
local constants, structs = {}, {}
for line in io.lines(header) do
    local name, value = line:match("^#define (PM_[%w_]+) (%d+)$")
    if name then
        constants[name] = tonumber(value)
    end
    structs[#structs + 1] = line:match("^} (pm_[%w_]+);$")
end

-- A struct that begins with its own size.
local function struct(name)
    local made = ffi.new(name)
    made.struct_size = ffi.sizeof(name)
    return made
end

local function call(name, ...)
    local arguments, count = { ... }, select("#", ...)
    local details = struct("pm_error")
    arguments[count + 1] = details
    local status = lib[name](unpack(arguments, 1, count + 1))
    if status ~= constants.PM_OK then
        error(ffi.string(lib.pm_status_name(status)) .. ": " .. ffi.string(details.message), 2)
    end
end

local tests = {}

function tests.every_struct_has_the_library_s_size()
    assert(#structs > 10)
    for _, name in ipairs(structs) do
        assert(lib.pm_struct_size(name, #name) == ffi.sizeof(name), name)
    end
end

function tests.a_device_s_life(path)
    local store, device = ffi.new("pm_store *[1]"), struct("pm_device")
    device.name, device.name_len = "base", 4
    call("pm_open", path, #path, nil, store)
    call("pm_add_device", store[0], device)
    assert(device.device_id == 1)
    local update, record = ffi.new("pm_update *[1]"), ffi.new("pm_device *[1]")
    call("pm_update_begin", store[0], "base", 4, update, record)
    record[0].state = constants.PM_STATE_ACTIVATED
    call("pm_update_commit", update[0])
    local buffer = ffi.new("uint64_t[256]")
    call("pm_read_device", store[0], "base", 4, buffer, ffi.sizeof(buffer), nil)
    local read = ffi.cast("pm_record *", buffer)
    assert(read.state == constants.PM_STATE_ACTIVATED)
    assert(ffi.string(ffi.cast("char *", read + 1), read.name_len) == "base")
    local ok, message = pcall(call, "pm_remove_device", store[0], "none", 4)
    assert(not ok and message:find("PM_ERR_NOT_FOUND", 1, true) and message:find("none", 1, true))
    call("pm_close", store[0])
end

local count = 0
for _ in pairs(tests) do
    count = count + 1
end
print("plan test_luajit " .. count)
local directory = output_of("mktemp -d"):gsub("%s", "")
local good = 0
for name, run in pairs(tests) do
    local ok, why = pcall(run, directory .. "/" .. name .. ".db")
    good = good + (ok and 1 or 0)
    print(ok and "ok test_luajit: " .. name or "FAILED test_luajit: " .. name .. ": " .. why)
end
os.execute("rm -rf '" .. directory .. "'")
os.exit(good == count and 0 or 1)
