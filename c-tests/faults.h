/* System calls that fail on demand; see faults.c. */
#ifndef PM_TEST_FAULTS_H
#define PM_TEST_FAULTS_H

#ifdef __cplusplus
extern "C" {
#endif

enum fault_kind {
    FAULT_WRITE, /* write, pwrite, pwritev and writev to a file */
    FAULT_META,  /* of these, pwrite to a store's meta pages, its first two */
    FAULT_SYNC,  /* fsync and fdatasync */
    FAULT_OPEN,  /* open of a path below fault_below, and a second descriptor for the same */
    FAULT_LENGTH, /* ftruncate and fallocate */
    FAULT_MAP,   /* mmap of a file, and mremap */
    FAULT_SPACE, /* mmap that asks for address space only */
    FAULT_STAT,  /* stat, lstat, fstat and statx, and statvfs */
    FAULT_LOCK,  /* flock, and fcntl for a lock */
    FAULT_READ,  /* read and pread */
    FAULT_CLOSE, /* close, which closes the descriptor all the same, as Linux does */
    FAULT_NAME,  /* rename, link, unlink, and changes of owner and mode */
    /* What a file system, a kernel or a sandbox may lack. */
    FAULT_FLOCK, /* flock */
    FAULT_OFD,   /* fcntl for a lock of an open file description */
    FAULT_LINK,  /* link */
    FAULT_NO_REPLACE, /* renameat2 */
    FAULT_BLOCKS, /* fallocate */
    FAULT_MODE,  /* fchmod */
    FAULT_FOLDER, /* fsync of a directory */
    FAULT_SHARED, /* mmap of a file that others see */
    FAULT_MEMORY, /* allocations of LMDB; needs fault_memory_of_lmdb (memory.c) */
    FAULT_KINDS
};

/* An error that makes a write or a read transfer half of the bytes instead of failing. */
#define FAULT_SHORT (-1)
/* Added to an error: the write is made before it fails, as when only its flush failed. */
#define FAULT_DONE 0x10000

/* Lets `calls` calls of this kind succeed, and then makes `count` of them fail with `error`. */
void fault_after(enum fault_kind kind, unsigned calls, unsigned count, int error);
/* Lets `calls` calls succeed; the next one first sends this signal to the process. */
void fault_signal(enum fault_kind kind, unsigned calls, int signal_number);
/* Ends the failures; returns how many calls of this kind have failed since fault_after. */
unsigned fault_end(enum fault_kind kind);
/* Only paths with this prefix can fail to open. */
void fault_below(const char *prefix);
/* Looks up the addresses of LMDB's functions. */
void fault_memory_of_lmdb(void);
/* For the functions that fail: whether any call of this kind is to fail; whether this one is. */
int fault_is_armed(enum fault_kind kind);
int fault_is_due(enum fault_kind kind);
/* How many directories have been flushed so far. */
unsigned directory_flushes(void);
/* How often a path below fault_below was opened so that an exec does not close the descriptor. */
unsigned opened_without_close_on_exec(void);

#ifdef __cplusplus
}
#endif
#endif
