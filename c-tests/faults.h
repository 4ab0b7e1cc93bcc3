/* System calls that fail on demand; see faults.c. */
#ifndef PM_TEST_FAULTS_H
#define PM_TEST_FAULTS_H

#ifdef __cplusplus
extern "C" {
#endif

enum fault_kind {
    FAULT_WRITE, /* pwrite, pwritev and writev to a file */
    FAULT_META,  /* of these, pwrite to a store's meta pages, its first two */
    FAULT_SYNC,  /* fsync and fdatasync */
    FAULT_OPEN,  /* open of a path below fault_below */
    FAULT_LENGTH, /* ftruncate and fallocate */
    FAULT_MAP,   /* mmap of a file, and mremap */
    FAULT_SPACE  /* mmap that asks for address space only: the last of these */
};

/* The error that makes a write get half of its bytes written and say so, instead of failing. */
#define FAULT_SHORT (-1)
/* Added to an error: the write is made all the same, as when only its flush failed. */
#define FAULT_DONE 0x10000

/* Lets `calls` calls of this kind go well and then `count` of them fail with `error`. */
void fault_after(enum fault_kind kind, unsigned calls, unsigned count, int error);
/* Lets `calls` calls go well; the next one sends this signal to the process before it is done. */
void fault_signal(enum fault_kind kind, unsigned calls, int signal_number);
/* Nothing fails any more; how many calls of this kind have failed since fault_after. */
unsigned fault_end(enum fault_kind kind);
/* Paths that begin so can be made to fail to open. */
void fault_below(const char *prefix);
/* How many directories have been flushed so far. */
unsigned directory_flushes(void);

#ifdef __cplusplus
}
#endif
#endif
