/*
 * What the C tests share: checks, places for stores, child processes.
 *
 * A check that fails ends the program at once; the runner counts the tests that did not get to run as failed.
 * Every refused call must report its code in full, so calls are written like this:
 *
 *     OK(pm_mark_faulty(store, PM_LIT("base"), why()));
 *     FAILS(PM_ERR_NOT_FOUND, pm_mark_faulty(store, PM_LIT("none"), why()));
 *     CHECK(strstr(told()->message, "none") != NULL);
 *
 * Each code that FAILS saw is written down with the test's name, for run.sh to hold against codes.txt.
 */
#ifndef PM_TEST_H
#define PM_TEST_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <pool_metadata.h>

#include <stdio.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What an output is set to before a call that must not write it. */
#define UNTOUCHED ((void *)0x5a5a5a5a)

struct test {
    const char *name;
    void (*run)(void);
};
/* What this program does when it is started by peer_start; the result is its exit status. */
struct role {
    const char *name;
    int (*play)(const char *argument);
};
#define NAMED(function) { #function, function }
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

int run_tests(int argc, char **argv, const struct test *tests, size_t count, const struct role *roles,
              size_t role_count);
#define TEST_MAIN(tests)                                          \
    int main(int argc, char **argv) {                             \
        return run_tests(argc, argv, tests, COUNT(tests), NULL, 0); \
    }
#define TEST_MAIN_WITH_ROLES(tests, roles)                                       \
    int main(int argc, char **argv) {                                            \
        return run_tests(argc, argv, tests, COUNT(tests), roles, COUNT(roles)); \
    }

/* A fresh error struct for one call; calls inside callbacks get one of their own. */
pm_error *why(void);
/* What the last checked call of this thread reported. */
const pm_error *told(void);

int why_depth(void);
void why_reset(int depth);
void check_ok(int depth, int32_t status, const char *call, const char *file, int line);
void check_fails(int32_t wanted, int depth, int32_t status, const char *call, const char *file, int line);
void check_that(int holds, const char *what, const char *file, int line);
void check_same(int64_t wanted, int64_t found, const char *what, const char *file, int line);
void check_bytes(const void *wanted, size_t wanted_len, const void *found, size_t found_len, const char *what,
                 const char *file, int line);
#ifdef __GNUC__
__attribute__((noreturn, format(printf, 3, 4)))
#endif
void fail(const char *file, int line, const char *format, ...);

#define OK(call)                                                \
    do {                                                        \
        int ok_depth = why_depth();                             \
        int32_t ok_status = (call);                             \
        check_ok(ok_depth, ok_status, #call, __FILE__, __LINE__); \
    } while (0)
#define FAILS(code, call)                                                        \
    do {                                                                         \
        int fails_depth = why_depth();                                           \
        int32_t fails_status = (call);                                           \
        check_fails(code, fails_depth, fails_status, #call, __FILE__, __LINE__); \
    } while (0)
#define CHECK(condition) check_that((condition) ? 1 : 0, #condition, __FILE__, __LINE__)
#define CHECK_INT(wanted, found) check_same((int64_t)(wanted), (int64_t)(found), #found, __FILE__, __LINE__)
/* Bytes against a literal. */
#define CHECK_TEXT(literal, found, found_len) \
    check_bytes(literal, sizeof(literal) - 1, found, found_len, #found, __FILE__, __LINE__)
#define CHECK_BYTES(wanted, wanted_len, found, found_len) \
    check_bytes(wanted, wanted_len, found, found_len, #found, __FILE__, __LINE__)

/* `count`, or less where every step costs many times as much: under valgrind and the sanitizers. */
unsigned scaled(unsigned count);
double seconds(void);
void sleep_ms(unsigned milliseconds);

/*
 * A path in the test's own directory, which is empty when the test begins and goes away, with all paths, when it ends.
 * For the main thread.
 */
const char *place(const char *file_name);
/* The whole file; to be given to free(). */
unsigned char *read_file(const char *path, size_t *len);
void write_file(const char *path, const void *bytes, size_t len);
/* Fails unless the file still holds these bytes. */
void check_file(const char *path, const void *bytes, size_t len);
/* Runs the crafting helper of this project (examples/craft_store.rs) on a file that nobody has open. */
void craft(const char *what, const char *path, const char *argument);
/* Flips one bit of every place in the file where these bytes are; fails if there is none. */
void damage(const char *path, const char *bytes);

/* A store with a lock wait of `lock_wait_ms`, or of 10 s for 0. */
pm_store *open_with(const char *path, unsigned lock_wait_ms);
pm_store *open_new(const char *file_name);
void close_store(pm_store *store);
/* What must hold after every write. */
void check_store(pm_store *store);

/* A device with that name, and all else empty. */
pm_device device_named(const char *name);
/* Adds a small device, activated; its id. */
uint32_t add(pm_store *store, const char *name);
/* pm_apply with one change. */
int32_t apply_one(pm_store *store, int32_t kind, pm_device *device, pm_error *error);
uint64_t device_count(pm_store *store);
int32_t state_of(pm_store *store, const char *name);

/* A child process: this program, started again in a role. */
struct peer {
    pid_t pid;
    FILE *to;
    FILE *from;
};
struct peer peer_start(const char *role, const char *argument);
void peer_tell(struct peer *peer, const char *line);
void peer_expect(struct peer *peer, const char *line);
/* Reads a line, without its end; 0 when the child has gone. */
int peer_hear(struct peer *peer, char *line, size_t size);
/* Waits for the child's end, which must be a good one. */
void peer_finish(struct peer *peer);
/* Ends the child with SIGKILL. */
void peer_kill(struct peer *peer);
/* In the child: says a line; waits for one, 0 when the parent has no more to say. */
void say(const char *line);
int listen_for(const char *line);
/*
 * Ends a forked child, well; in another program, so that a leak checker does not ask the child for what the threads and
 * handles of its parent had.
 */
void end_child(void);
/* Waits for a forked child, which must end well. */
void wait_for(pid_t child);

#ifdef __cplusplus
}
#endif
#endif
