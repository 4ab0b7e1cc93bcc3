/* What every test program includes: checks, files, child processes, and the runner. */
#ifndef PM_TEST_H
#define PM_TEST_H

#include "check.h"
#include "files.h"
#include "peers.h"

#ifdef __cplusplus
extern "C" {
#endif

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

int run_tests(int argc, char **argv, const struct test *tests, size_t count,
              const struct role *roles, size_t role_count);
#define TEST_MAIN(tests)                                          \
    int main(int argc, char **argv) {                             \
        return run_tests(argc, argv, tests, COUNT(tests), NULL, 0); \
    }
#define TEST_MAIN_WITH_ROLES(tests, roles)                                       \
    int main(int argc, char **argv) {                                            \
        return run_tests(argc, argv, tests, COUNT(tests), roles, COUNT(roles)); \
    }

#ifdef __cplusplus
}
#endif
#endif
