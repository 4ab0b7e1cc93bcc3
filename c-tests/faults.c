/*
 * System calls that fail on demand, as on a full or a broken disk.
 *
 * These definitions take precedence over the C library's, for the shared library as for the
 * archive, so the library's calls arrive here. Nothing fails unless a test asks for it.
 */
#include "faults.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static struct {
    unsigned well;
    unsigned failing;
    unsigned failed;
    int error;
    int signal_number;
} faults[FAULT_KINDS];

/* Where a store's data pages begin. */
#define BEHIND_META_PAGES (2 * 4096)

static unsigned flushed_directories;
static const char *failing_paths = "";
static unsigned inherited_descriptors;

void fault_after(enum fault_kind kind, unsigned calls, unsigned count, int error) {
    faults[kind].well = calls;
    faults[kind].failing = count;
    faults[kind].failed = 0;
    faults[kind].error = error;
    faults[kind].signal_number = 0;
}

void fault_signal(enum fault_kind kind, unsigned calls, int signal_number) {
    fault_after(kind, calls, 1, 0);
    faults[kind].signal_number = signal_number;
}

unsigned fault_end(enum fault_kind kind) {
    faults[kind].failing = 0;
    return faults[kind].failed;
}

/* Counts under a lock: threads of the library make some of the calls. */
static int is_due(enum fault_kind kind) {
    static char counting;
    int due = 0;
    while (__atomic_test_and_set(&counting, __ATOMIC_ACQUIRE)) {
    }
    if (faults[kind].failing > 0) {
        if (faults[kind].well > 0) {
            faults[kind].well--;
        } else {
            faults[kind].failing--;
            faults[kind].failed++;
            due = 1;
        }
    }
    __atomic_clear(&counting, __ATOMIC_RELEASE);
    return due;
}

int fault_is_armed(enum fault_kind kind) {
    return __atomic_load_n(&faults[kind].failing, __ATOMIC_RELAXED) != 0;
}

int fault_is_due(enum fault_kind kind) {
    if (!fault_is_armed(kind) || !is_due(kind)) {
        return 0;
    }
    if (faults[kind].signal_number != 0) {
        raise(faults[kind].signal_number);
        return 0;
    }
    errno = faults[kind].error;
    return 1;
}

/* Whether a write is due to fail. With FAULT_SHORT, it writes the first half. */
static int write_fails(enum fault_kind kind, int fd, const void *bytes, size_t len, int64_t offset,
                       ssize_t *result) {
    if (!fault_is_due(kind)) {
        return 0;
    }
    *result = -1;
    if (errno == FAULT_SHORT) {
        size_t half = len / 2 > 0 ? len / 2 : len;
        *result = offset >= 0 ? syscall(SYS_pwrite64, fd, bytes, half, offset)
                              : syscall(SYS_write, fd, bytes, half);
    } else if ((errno & FAULT_DONE) != 0) {
        int error = errno & ~FAULT_DONE;
        syscall(SYS_pwrite64, fd, bytes, len, offset);
        errno = error;
    }
    return 1;
}

static ssize_t write_at(int fd, const void *bytes, size_t len, int64_t offset) {
    ssize_t result;
    if (offset < BEHIND_META_PAGES && write_fails(FAULT_META, fd, bytes, len, offset, &result)) {
        return result;
    }
    if (write_fails(FAULT_WRITE, fd, bytes, len, offset, &result)) {
        return result;
    }
    return (ssize_t)syscall(SYS_pwrite64, fd, bytes, len, offset);
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t offset) {
    return write_at(fd, bytes, len, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t len, off64_t offset) {
    return write_at(fd, bytes, len, offset);
}

static ssize_t write_vector_at(int fd, const struct iovec *parts, int count, int64_t offset) {
    ssize_t result;
    if (write_fails(FAULT_WRITE, fd, parts[0].iov_base, parts[0].iov_len, offset, &result)) {
        return result;
    }
    return (ssize_t)syscall(SYS_pwritev, fd, parts, (long)count, offset, 0L);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
    return write_vector_at(fd, parts, count, offset);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset) {
    return write_vector_at(fd, parts, count, offset);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    ssize_t result;
    if (write_fails(FAULT_WRITE, fd, parts[0].iov_base, parts[0].iov_len, -1, &result)) {
        return result;
    }
    return (ssize_t)syscall(SYS_writev, fd, parts, (long)count);
}

ssize_t write(int fd, const void *bytes, size_t len) {
    ssize_t result;
    if (fd > STDERR_FILENO && write_fails(FAULT_WRITE, fd, bytes, len, -1, &result)) {
        return result;
    }
    return (ssize_t)syscall(SYS_write, fd, bytes, len);
}

/* Whether a read is due to fail. With FAULT_SHORT, it gets half of what it asked for. */
static int read_fails(size_t *len) {
    if (!fault_is_due(FAULT_READ)) {
        return 0;
    }
    if (errno != FAULT_SHORT) {
        return 1;
    }
    /* No disk gives less than a sector. */
    *len = *len / 2 >= 512 ? *len / 2 : *len;
    return 0;
}

ssize_t read(int fd, void *bytes, size_t len) {
    return read_fails(&len) ? -1 : (ssize_t)syscall(SYS_read, fd, bytes, len);
}

ssize_t pread(int fd, void *bytes, size_t len, off_t offset) {
    return read_fails(&len) ? -1 : (ssize_t)syscall(SYS_pread64, fd, bytes, len, offset);
}

ssize_t pread64(int fd, void *bytes, size_t len, off64_t offset) {
    return read_fails(&len) ? -1 : (ssize_t)syscall(SYS_pread64, fd, bytes, len, offset);
}

void fault_below(const char *prefix) {
    failing_paths = prefix;
}

unsigned opened_without_close_on_exec(void) {
    return __atomic_load_n(&inherited_descriptors, __ATOMIC_RELAXED);
}

static int open_at(const char *path, int flags, mode_t mode) {
    int is_below = strncmp(path, failing_paths, strlen(failing_paths)) == 0;
    if (faults[FAULT_OPEN].failing > 0 && is_below && fault_is_due(FAULT_OPEN)) {
        return -1;
    }
    if (is_below && (flags & O_CLOEXEC) == 0) {
        __atomic_fetch_add(&inherited_descriptors, 1, __ATOMIC_RELAXED);
    }
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

static mode_t mode_of(int flags, va_list rest) {
    return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(rest, mode_t) : 0;
}

int open(const char *path, int flags, ...) {
    va_list rest;
    mode_t mode;
    va_start(rest, flags);
    mode = mode_of(flags, rest);
    va_end(rest);
    return open_at(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    mode_t mode;
    va_start(rest, flags);
    mode = mode_of(flags, rest);
    va_end(rest);
    return open_at(path, flags | O_LARGEFILE, mode);
}

int ftruncate(int fd, off_t len) {
    return fault_is_due(FAULT_LENGTH) ? -1 : (int)syscall(SYS_ftruncate, fd, len);
}

int ftruncate64(int fd, off64_t len) {
    return fault_is_due(FAULT_LENGTH) ? -1 : (int)syscall(SYS_ftruncate, fd, len);
}

static int allocate(int fd, int mode, int64_t offset, int64_t len) {
    return fault_is_due(FAULT_LENGTH) || fault_is_due(FAULT_BLOCKS)
               ? -1
               : (int)syscall(SYS_fallocate, fd, mode, offset, len);
}

int fallocate(int fd, int mode, off_t offset, off_t len) {
    return allocate(fd, mode, offset, len);
}

int fallocate64(int fd, int mode, off64_t offset, off64_t len) {
    return allocate(fd, mode, offset, len);
}

int fdatasync(int fd) {
    return fault_is_due(FAULT_SYNC) ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd) {
    struct stat found;
    if (fault_is_due(FAULT_SYNC)) {
        return -1;
    }
    if (syscall(SYS_fstat, fd, &found) == 0 && S_ISDIR(found.st_mode)) {
        if (fault_is_due(FAULT_FOLDER)) {
            return -1;
        }
        __atomic_add_fetch(&flushed_directories, 1, __ATOMIC_RELAXED);
    }
    return (int)syscall(SYS_fsync, fd);
}

unsigned directory_flushes(void) {
    return __atomic_load_n(&flushed_directories, __ATOMIC_RELAXED);
}

static void *map(void *at, size_t len, int protection, int flags, int fd, int64_t offset) {
    if (protection == PROT_NONE && (flags & MAP_NORESERVE) != 0 && fault_is_due(FAULT_SPACE)) {
        return MAP_FAILED;
    }
    if (fd >= 0 && fault_is_due(FAULT_MAP)) {
        return MAP_FAILED;
    }
    if (fd >= 0 && (flags & MAP_SHARED) != 0 && fault_is_due(FAULT_SHARED)) {
        return MAP_FAILED;
    }
    return (void *)syscall(SYS_mmap, at, len, (long)protection, (long)flags, (long)fd, offset);
}

void *mmap(void *at, size_t len, int protection, int flags, int fd, off_t offset) {
    return map(at, len, protection, flags, fd, offset);
}

void *mmap64(void *at, size_t len, int protection, int flags, int fd, off64_t offset) {
    return map(at, len, protection, flags, fd, offset);
}

void *mremap(void *at, size_t len, size_t new_len, int flags, ...) {
    void *wanted = NULL;
    va_list rest;
    if ((flags & MREMAP_FIXED) != 0) {
        va_start(rest, flags);
        wanted = va_arg(rest, void *);
        va_end(rest);
    }
    return fault_is_due(FAULT_MAP)
               ? MAP_FAILED
               : (void *)syscall(SYS_mremap, at, len, new_len, (long)flags, wanted);
}

int stat64(const char *path, struct stat64 *found) {
    return fault_is_due(FAULT_STAT) ? -1 : (int)syscall(SYS_newfstatat, AT_FDCWD, path, found, 0);
}

int lstat64(const char *path, struct stat64 *found) {
    return fault_is_due(FAULT_STAT)
               ? -1
               : (int)syscall(SYS_newfstatat, AT_FDCWD, path, found, AT_SYMLINK_NOFOLLOW);
}

int fstat64(int fd, struct stat64 *found) {
    return fault_is_due(FAULT_STAT) ? -1 : (int)syscall(SYS_fstat, fd, found);
}

int fstat(int fd, struct stat *found) {
    return fault_is_due(FAULT_STAT) ? -1 : (int)syscall(SYS_fstat, fd, found);
}

int statx(int directory, const char *path, int flags, unsigned mask, struct statx *found) {
    return fault_is_due(FAULT_STAT) ? -1
                                    : (int)syscall(SYS_statx, directory, path, flags, mask, found);
}

int statvfs(const char *path, struct statvfs *found) {
    static int (*next)(const char *, struct statvfs *);
    if (next == NULL) {
        *(void **)&next = dlsym(RTLD_NEXT, "statvfs");
    }
    return fault_is_due(FAULT_STAT) ? -1 : next(path, found);
}

int flock(int fd, int operation) {
    return fault_is_due(FAULT_LOCK) || fault_is_due(FAULT_FLOCK)
               ? -1
               : (int)syscall(SYS_flock, fd, operation);
}

static int is_of_a_description(int command) {
    return command == F_OFD_SETLK || command == F_OFD_SETLKW || command == F_OFD_GETLK;
}

static int is_for_a_lock(int command) {
    return is_of_a_description(command) || command == F_SETLK || command == F_SETLKW ||
           command == F_GETLK;
}

int fcntl(int fd, int command, ...) {
    va_list rest;
    long argument;
    va_start(rest, command);
    argument = va_arg(rest, long);
    va_end(rest);
    if ((is_for_a_lock(command) && fault_is_due(FAULT_LOCK)) ||
        (is_of_a_description(command) && fault_is_due(FAULT_OFD)) ||
        (command == F_DUPFD_CLOEXEC && fault_is_due(FAULT_OPEN))) {
        return -1;
    }
    return (int)syscall(SYS_fcntl, fd, command, argument);
}

int close(int fd) {
    int closed = (int)syscall(SYS_close, fd);
    return fault_is_due(FAULT_CLOSE) ? -1 : closed;
}

int rename(const char *from, const char *to) {
    return fault_is_due(FAULT_NAME) ? -1 : (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
}

int renameat2(int from_directory, const char *from, int to_directory, const char *to,
              unsigned flags) {
    return fault_is_due(FAULT_NAME) || fault_is_due(FAULT_NO_REPLACE)
               ? -1
               : (int)syscall(SYS_renameat2, from_directory, from, to_directory, to, flags);
}

int linkat(int from_directory, const char *from, int to_directory, const char *to, int flags) {
    return fault_is_due(FAULT_NAME) || fault_is_due(FAULT_LINK)
               ? -1
               : (int)syscall(SYS_linkat, from_directory, from, to_directory, to, flags);
}

int unlink(const char *path) {
    return fault_is_due(FAULT_NAME) ? -1 : (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

int fchmod(int fd, mode_t mode) {
    int fails = fault_is_due(FAULT_NAME) || fault_is_due(FAULT_MODE);
    return fails ? -1 : (int)syscall(SYS_fchmod, fd, mode);
}

int fchown(int fd, uid_t user, gid_t group) {
    return fault_is_due(FAULT_NAME) ? -1 : (int)syscall(SYS_fchown, fd, user, group);
}
