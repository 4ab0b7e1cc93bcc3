/* Child processes. */
#ifndef PM_TEST_PEERS_H
#define PM_TEST_PEERS_H

#include "check.h"

#include <stdio.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

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
/* Waits for the child's end; fails unless it succeeded. */
void peer_finish(struct peer *peer);
/* Ends the child with SIGKILL. */
void peer_kill(struct peer *peer);
/* In the child: says a line; waits for one, 0 when the parent has no more to say. */
void say(const char *line);
int listen_for(const char *line);
/*
 * Ends a forked child with success, in another program: a leak checker would blame the child for
 * what the threads and handles of its parent hold.
 */
void end_child(void);
/* Waits for the end of a forked child; fails unless it succeeded. */
void wait_for(pid_t child);

/* For the runner: the program that peer_start starts. */
void remember_program(const char *path);

#ifdef __cplusplus
}
#endif
#endif
