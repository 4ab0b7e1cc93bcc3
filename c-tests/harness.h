/* Between the parts of the harness; tests need none of it. */
#ifndef PM_TEST_HARNESS_H
#define PM_TEST_HARNESS_H

/* So that the program can start itself again. */
void remember_program(const char *path);
const char *program_path(void);

/* The current test's directory. */
void make_place(void);
void remove_place(void);

#endif
