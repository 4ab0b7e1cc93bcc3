/* Running tests and checking calls; see test.h. */
#include "test.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"

#define DEEPEST 8
/* No field of an error that a call has filled may still hold this. */
#define PATTERN 0x7a7a7a7a

static const char *program = "";
static const char *current = "";
/* Where the codes that were provoked are written down; open from the start, for tests that give up their rights. */
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

/* A program that hangs has failed; one on a slow machine has not: the slowest needs half a minute. */
static unsigned longest_run(void) {
    return getenv("PM_TEST_SLOW") != NULL ? 1800 : 600;
}

static void close_code_list(void) {
    if (code_list != NULL) {
        fclose(code_list);
    }
}

int run_tests(int argc, char **argv, const struct test *tests, size_t count, const struct role *roles,
              size_t role_count) {
    size_t i;
    program = base_name(argv[0]);
    alarm(longest_run());
    signal(SIGPIPE, SIG_IGN);
    if (getenv("PM_TEST_CODES") != NULL) {
        code_list = fopen(getenv("PM_TEST_CODES"), "ae");
        CHECK(code_list != NULL);
    }
    if (argc == 4 && strcmp(argv[1], "--role") == 0) {
        for (i = 0; i < role_count; i++) {
            if (strcmp(roles[i].name, argv[2]) == 0) {
                current = roles[i].name;
                return roles[i].play(argv[3]);
            }
        }
        fail(__FILE__, __LINE__, "no role %s", argv[2]);
    }
    remember_program(argv[0]);
    atexit(close_code_list);
    printf("plan %s %u\n", program, (unsigned)count);
    for (i = 0; i < count; i++) {
        if (argc > 1 && strcmp(argv[1], tests[i].name) != 0) {
            continue;
        }
        current = tests[i].name;
        make_place();
        tests[i].run();
        CHECK_INT(0, calls.depth);
        remove_place();
        printf("ok %s: %s\n", program, current);
        fflush(stdout);
    }
    return 0;
}

void fail(const char *file, int line, const char *format, ...) {
    static int failed;
    va_list args;
    /* The first thread that fails ends the program, and no other says more. */
    while (__atomic_exchange_n(&failed, 1, __ATOMIC_ACQ_REL)) {
        pause();
    }
    fflush(stdout);
    printf("FAILED %s: %s: %s:%d: ", program, current, base_name(file), line);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
    fflush(stdout);
    remove_place();
    /* At once: destructors of a program that went wrong could say more than the check did. */
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

/* The struct of the call that is being checked, or NULL if it was made without one. */
static const pm_error *take_back(int depth) {
    int used = calls.depth - depth;
    calls.depth = depth;
    return used == 1 ? &calls.errors[depth] : NULL;
}

void check_ok(int depth, int32_t status, const char *call, const char *file, int line) {
    const pm_error *error = take_back(depth);
    if (status != PM_OK) {
        fail(file, line, "%s: %s: %s", call, pm_status_name(status), error != NULL ? error->message : "");
    }
    if (error != NULL) {
        pm_error pristine;
        memset(&pristine, 0x7a, sizeof pristine);
        pristine.struct_size = sizeof pristine;
        check_that(memcmp(error, &pristine, sizeof pristine) == 0, "a call that succeeds leaves its error alone", file,
                   line);
    }
}

/* Each line at once: other threads and children write to the same file. */
static void write_down(int32_t code) {
    if (code_list != NULL) {
        fprintf(code_list, "%s %s %s\n", pm_status_name(code), program, current);
        fflush(code_list);
    }
}

void check_fails(int32_t wanted, int depth, int32_t status, const char *call, const char *file, int line) {
    const pm_error *error = take_back(depth);
    if (status != wanted) {
        fail(file, line, "%s: %s where %s was due: %s", call, pm_status_name(status), pm_status_name(wanted),
             error != NULL && status != PM_OK ? error->message : "");
    }
    if (error != NULL) {
        size_t len = strnlen(error->message, PM_ERROR_MESSAGE_SIZE);
        size_t i;
        check_same(wanted, error->code, "error.code", file, line);
        check_same(sizeof *error, (int64_t)error->struct_size, "error.struct_size", file, line);
        check_that(error->callback_code != PATTERN, "error.callback_code is set", file, line);
        check_that(error->os_error != PATTERN, "error.os_error is set", file, line);
        check_that(wanted == PM_ERR_CALLBACK || error->callback_code == 0, "only callbacks have a callback code", file,
                   line);
        check_that(len > 0 && len < PM_ERROR_MESSAGE_SIZE, "the message is there and ends", file, line);
        for (i = 0; i < len; i++) {
            check_that((unsigned char)error->message[i] >= ' ', "the message is one line of text", file, line);
        }
    }
    write_down(wanted);
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

void check_bytes(const void *wanted, size_t wanted_len, const void *found, size_t found_len, const char *what,
                 const char *file, int line) {
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
