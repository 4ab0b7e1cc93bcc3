/* Checks; see check.h. */
#include "check.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define DEEPEST 8
/* No field of an error that a call has filled may still hold this. */
#define PATTERN 0x7a7a7a7a

static const char *program_name = "";
static const char *test_name = "";
static void (*clean_up_all)(void);
/* The codes that were provoked; open from the start, for tests that drop their rights. */
static FILE *code_list;

/* Calls nest where a callback makes some: each has an error struct of its own. */
static __thread struct {
    pm_error errors[DEEPEST];
    int depth;
} calls;

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static void close_code_list(void) {
    if (code_list != NULL) {
        fclose(code_list);
    }
}

void begin_checks(const char *program, void (*clean_up)(void)) {
    program_name = program;
    clean_up_all = clean_up;
    if (getenv("PM_TEST_CODES") != NULL) {
        code_list = fopen(getenv("PM_TEST_CODES"), "ae");
        CHECK(code_list != NULL);
    }
    atexit(close_code_list);
}

void begin_test(const char *name) {
    test_name = name;
}

void fail(const char *file, int line, const char *format, ...) {
    static int failed;
    va_list args;
    /* The first thread that fails ends the program; any other stays silent. */
    while (__atomic_exchange_n(&failed, 1, __ATOMIC_ACQ_REL)) {
        pause();
    }
    fflush(stdout);
    printf("FAILED %s: %s: %s:%d: ", program_name, test_name, base_name(file), line);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
    fflush(stdout);
    clean_up_all();
    /* At once: destructors of a program that went wrong could print more than the check did. */
    _exit(1);
}

pm_error *why(void) {
    static const pm_error first = PM_ERROR_INIT;
    pm_error *error;
    CHECK(calls.depth < DEEPEST);
    error = &calls.errors[calls.depth++];
    memset(error, 0x7a, sizeof *error);
    error->struct_size = first.struct_size;
    return error;
}

const pm_error *told(void) {
    CHECK(calls.depth < DEEPEST);
    return &calls.errors[calls.depth];
}

int why_depth(void) {
    return calls.depth;
}

void why_reset(int depth) {
    calls.depth = depth;
}

/* The struct of the call that is being checked; NULL if the call was made without one. */
static const pm_error *take_back(int depth) {
    int used = calls.depth - depth;
    calls.depth = depth;
    return used == 1 ? &calls.errors[depth] : NULL;
}

void check_ok(int depth, int32_t status, const char *call, const char *file, int line) {
    const pm_error *error = take_back(depth);
    if (status != PM_OK) {
        fail(file, line, "%s: %s: %s", call, pm_status_name(status),
             error != NULL ? error->message : "");
    }
    if (error != NULL) {
        pm_error pristine;
        memset(&pristine, 0x7a, sizeof pristine);
        pristine.struct_size = sizeof pristine;
        check_that(memcmp(error, &pristine, sizeof pristine) == 0,
                   "a call that succeeds leaves its error alone", file, line);
    }
}

/* Flushes each line: other threads and children write to the same file. */
static void record_code(int32_t code) {
    if (code_list != NULL) {
        fprintf(code_list, "%s %s %s\n", pm_status_name(code), program_name, test_name);
        fflush(code_list);
    }
}

void check_fails(int32_t wanted, int depth, int32_t status, const char *call, const char *file,
                 int line) {
    const pm_error *error = take_back(depth);
    if (status != wanted) {
        fail(file, line, "%s: %s where %s was due: %s", call, pm_status_name(status),
             pm_status_name(wanted), error != NULL && status != PM_OK ? error->message : "");
    }
    if (error != NULL) {
        size_t len = strnlen(error->message, PM_ERROR_MESSAGE_SIZE);
        size_t i;
        check_same(wanted, error->code, "error.code", file, line);
        check_same(sizeof *error, (int64_t)error->struct_size, "error.struct_size", file, line);
        check_that(error->callback_code != PATTERN, "error.callback_code is set", file, line);
        check_that(error->os_error != PATTERN, "error.os_error is set", file, line);
        check_that(wanted == PM_ERR_CALLBACK || error->callback_code == 0,
                   "only callbacks have a callback code", file, line);
        check_that(len > 0 && len < PM_ERROR_MESSAGE_SIZE, "the message is there and ends", file,
                   line);
        for (i = 0; i < len; i++) {
            check_that((unsigned char)error->message[i] >= ' ', "the message is one line of text",
                       file, line);
        }
    }
    record_code(wanted);
}

void check_that(int holds, const char *what, const char *file, int line) {
    if (!holds) {
        fail(file, line, "not so: %s", what);
    }
}

void check_same(int64_t wanted, int64_t found, const char *what, const char *file, int line) {
    if (wanted != found) {
        fail(file, line, "%s is %lld, not %lld", what, (long long)found, (long long)wanted);
    }
}

void check_bytes(const void *wanted, size_t wanted_len, const void *found, size_t found_len,
                 const char *what, const char *file, int line) {
    check_same((int64_t)wanted_len, (int64_t)found_len, what, file, line);
    check_that(found != NULL && memcmp(wanted, found, wanted_len) == 0, what, file, line);
}

unsigned scaled(unsigned count) {
    return getenv("PM_TEST_SLOW") != NULL ? count / 10 + 1 : count;
}

double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

void sleep_ms(unsigned milliseconds) {
    struct timespec wait;
    wait.tv_sec = milliseconds / 1000;
    wait.tv_nsec = (long)(milliseconds % 1000) * 1000000;
    while (nanosleep(&wait, &wait) != 0 && errno == EINTR) {
    }
}
