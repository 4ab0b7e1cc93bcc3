/* Runs a program's tests, or one of its roles; see test.h. */
#include "test.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Ends a program that hangs, and none on a slow machine: the slowest needs half a minute. */
static unsigned longest_run(void) {
    return getenv("PM_TEST_SLOW") != NULL ? 1800 : 600;
}

static int play(const struct role *roles, size_t count, const char *name, const char *argument) {
    size_t i;
    for (i = 0; i < count; i++) {
        if (strcmp(roles[i].name, name) == 0) {
            begin_test(roles[i].name);
            return roles[i].play(argument);
        }
    }
    fail(__FILE__, __LINE__, "no role %s", name);
}

int run_tests(int argc, char **argv, const struct test *tests, size_t count,
              const struct role *roles, size_t role_count) {
    const char *program = strrchr(argv[0], '/');
    size_t i;
    program = program != NULL ? program + 1 : argv[0];
    alarm(longest_run());
    signal(SIGPIPE, SIG_IGN);
    begin_checks(program, remove_place);
    if (argc == 4 && strcmp(argv[1], "--role") == 0) {
        return play(roles, role_count, argv[2], argv[3]);
    }
    remember_program(argv[0]);
    printf("plan %s %u\n", program, (unsigned)count);
    for (i = 0; i < count; i++) {
        if (argc > 1 && strcmp(argv[1], tests[i].name) != 0) {
            continue;
        }
        begin_test(tests[i].name);
        make_place();
        tests[i].run();
        CHECK_INT(0, why_depth());
        remove_place();
        printf("ok %s: %s\n", program, tests[i].name);
        fflush(stdout);
    }
    return 0;
}
