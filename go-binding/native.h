/*
 * The C functions that the Go package calls. Each does one operation of the library in one crossing
 * of the language boundary.
 *
 * Conventions
 * - Handles are integers and the structs hold no pointers, so that cgo has nothing to check at run
 *   time.
 * - Nothing here calls Go or keeps an address that it was given.
 * - A function that can fail returns the library's status. If it failed, reply->detail is a
 *   pm_error for pmgo_take_detail, or 0 where the status says everything. See report.h.
 * - The caller zeroes the reply.
 */
#ifndef PMGO_NATIVE_H
#define PMGO_NATIVE_H

/*
 * In a checkout (link_checkout.go), the library is beside this package. The module cache and a
 * vendor folder have the package alone.
 */
#if defined(PMGO_CHECKOUT) && defined(__has_include)
#if !__has_include("include/pool_metadata.h")
#error "the C library is not beside this Go package: make install it, use -tags pm_pkgconfig"
#elif !__has_include("target/dist/libpool_metadata.a")
#error "the C library has not been built: run make at the top of the checkout"
#endif
#endif

#include <pool_metadata.h>

/* What a call returns besides its status. */
typedef struct pmgo_reply {
    uint64_t size;    /* bytes written to the buffer; with PM_ERR_BUFFER_TOO_SMALL, bytes needed */
    uint64_t count;   /* records or names */
    uintptr_t handle; /* what was opened; 0 for a walk that has ended */
    uintptr_t ids;    /* the pm_ids of a walk */
    uintptr_t detail; /* a pm_error for pmgo_take_detail, or 0 */
    uint32_t last_id; /* of the ids of a walk */
    int32_t then;     /* of a walk: the status after this page, which detail belongs to */
} pmgo_reply;

/* A report of a failed call, for Go to read. */
typedef struct pmgo_detail {
    size_t message_len;
    int32_t code;
    int32_t os_error;
    char message[PM_ERROR_MESSAGE_SIZE];
} pmgo_detail;

/* Copies a report and frees it. */
void pmgo_take_detail(uintptr_t detail, pmgo_detail *to);

int32_t pmgo_open(const char *path, size_t path_len, const pm_options *options, pmgo_reply *reply);
int32_t pmgo_close(uintptr_t store, pmgo_reply *reply);
/* Returns the store's handle for deferred writes in reply->handle. */
int32_t pmgo_deferred(uintptr_t store, pmgo_reply *reply);
int32_t pmgo_sync(uintptr_t store, pmgo_reply *reply);
int32_t pmgo_verify(uintptr_t store, pmgo_reply *reply);
int32_t pmgo_stats(uintptr_t store, pm_stats *stats, pmgo_reply *reply);

/* A read that is running. */
typedef struct pmgo_running_read {
    uint64_t commits_behind;
    uint64_t age_ns;
    uint32_t pid;
} pmgo_running_read;

/* Lists the running reads: reply->count of them. */
int32_t pmgo_running_reads(uintptr_t store, pmgo_reply *reply);
/* Copies such a list to memory for as many reads, and frees it. */
void pmgo_running_reads_take(uintptr_t reads, pmgo_running_read *to);

int32_t pmgo_get(uintptr_t store, const char *name, size_t name_len, uint64_t *buffer,
                 size_t capacity, pmgo_reply *reply);

/*
 * Opens a walk and reads its first page. If the walk ends or fails after that page, it is closed
 * already: reply->then says which.
 */
int32_t pmgo_walk_open(uintptr_t store, uint64_t *buffer, size_t capacity, pmgo_reply *reply);
int32_t pmgo_walk_next(uintptr_t walk, uint64_t *buffer, size_t capacity, pmgo_reply *reply);
void pmgo_walk_close(uintptr_t walk);

/* Lists the names: reply->size bytes take all of them, each with a NUL behind it. */
int32_t pmgo_names(uintptr_t store, pmgo_reply *reply);
/* Copies the names of such a list to memory of that size, and frees the list. */
void pmgo_names_take(uintptr_t names, char *to);

#endif
