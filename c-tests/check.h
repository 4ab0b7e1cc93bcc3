/*
 * Checks. One that fails ends the program at once; the runner counts the tests that did not run as
 * failed. A refused call must report its code in full, so calls are written like this:
 *
 *     OK(pm_mark_faulty(store, PM_LIT("base"), why()));
 *     FAILS(PM_ERR_NOT_FOUND, pm_mark_faulty(store, PM_LIT("none"), why()));
 *     CHECK(strstr(told()->message, "none") != NULL);
 *
 * Each code that FAILS saw is written to a list with the test's name; run.sh compares that with
 * codes.txt.
 */
#ifndef PM_TEST_CHECK_H
#define PM_TEST_CHECK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <pool_metadata.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What an output is set to before a call that must not write it. */
#define UNTOUCHED ((void *)0x5a5a5a5a)
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A fresh error struct for one call; calls inside callbacks get one of their own. */
pm_error *why(void);
/* What the last checked call of this thread reported. */
const pm_error *told(void);

int why_depth(void);
void why_reset(int depth);
void check_ok(int depth, int32_t status, const char *call, const char *file, int line);
void check_fails(int32_t wanted, int depth, int32_t status, const char *call, const char *file,
                 int line);
void check_that(int holds, const char *what, const char *file, int line);
void check_same(int64_t wanted, int64_t found, const char *what, const char *file, int line);
void check_bytes(const void *wanted, size_t wanted_len, const void *found, size_t found_len,
                 const char *what, const char *file, int line);
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
#define CHECK_INT(wanted, found) \
    check_same((int64_t)(wanted), (int64_t)(found), #found, __FILE__, __LINE__)
/* Bytes against a literal. */
#define CHECK_TEXT(literal, found, found_len) \
    check_bytes(literal, sizeof(literal) - 1, found, found_len, #found, __FILE__, __LINE__)
#define CHECK_BYTES(wanted, wanted_len, found, found_len) \
    check_bytes(wanted, wanted_len, found, found_len, #found, __FILE__, __LINE__)

/* `count`, or fewer under valgrind and the sanitizers, where each step costs many times as much. */
unsigned scaled(unsigned count);
double seconds(void);
void sleep_ms(unsigned milliseconds);

/* For the runner: this program's name, which stays valid, and what a check that fails calls. */
void begin_checks(const char *program, void (*clean_up)(void));
/* For the runner: the name of the test, or of the role, that runs from now on. */
void begin_test(const char *name);

#ifdef __cplusplus
}
#endif
#endif
