/* Child processes: this program, started again in a role; see peers.h. */
#include "peers.h"

#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static char path_of_program[4096];

void remember_program(const char *path) {
    CHECK(realpath(path, path_of_program) != NULL);
}

struct peer peer_start(const char *role, const char *argument) {
    struct peer peer;
    char *argv[5];
    int in[2];
    int out[2];
    posix_spawn_file_actions_t actions;
    argv[0] = path_of_program;
    argv[1] = (char *)(uintptr_t) "--role";
    argv[2] = (char *)(uintptr_t)role;
    argv[3] = (char *)(uintptr_t)argument;
    argv[4] = NULL;
    CHECK(pipe2(in, 0) == 0 && pipe2(out, 0) == 0);
    CHECK(posix_spawn_file_actions_init(&actions) == 0);
    posix_spawn_file_actions_adddup2(&actions, in[0], 0);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    posix_spawn_file_actions_addclose(&actions, in[0]);
    posix_spawn_file_actions_addclose(&actions, in[1]);
    posix_spawn_file_actions_addclose(&actions, out[0]);
    posix_spawn_file_actions_addclose(&actions, out[1]);
    CHECK(posix_spawn(&peer.pid, path_of_program, &actions, NULL, argv, environ) == 0);
    posix_spawn_file_actions_destroy(&actions);
    close(in[0]);
    close(out[1]);
    peer.to = fdopen(in[1], "w");
    peer.from = fdopen(out[0], "r");
    CHECK(peer.to != NULL && peer.from != NULL);
    return peer;
}

void peer_tell(struct peer *peer, const char *line) {
    CHECK(fprintf(peer->to, "%s\n", line) > 0 && fflush(peer->to) == 0);
}

int peer_hear(struct peer *peer, char *line, size_t size) {
    /* A line without its end is one that the child did not get to say. */
    if (fgets(line, (int)size, peer->from) == NULL || strchr(line, '\n') == NULL) {
        return 0;
    }
    *strchr(line, '\n') = '\0';
    return 1;
}

void peer_expect(struct peer *peer, const char *line) {
    char heard[1024];
    if (!peer_hear(peer, heard, sizeof heard)) {
        fail(__FILE__, __LINE__, "the child has gone; it should have said: %s", line);
    }
    if (strcmp(heard, line) != 0) {
        fail(__FILE__, __LINE__, "the child said: %s; it should have said: %s", heard, line);
    }
}

static void close_pipes(struct peer *peer) {
    fclose(peer->to);
    fclose(peer->from);
}

void peer_finish(struct peer *peer) {
    close_pipes(peer);
    wait_for(peer->pid);
}

void peer_kill(struct peer *peer) {
    int status = 0;
    CHECK(kill(peer->pid, SIGKILL) == 0);
    CHECK(waitpid(peer->pid, &status, 0) == peer->pid);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    close_pipes(peer);
}

void wait_for(pid_t child) {
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK_INT(0, status);
}

void end_child(void) {
    execlp("true", "true", (char *)NULL);
    _exit(1);
}

void say(const char *line) {
    printf("%s\n", line);
    fflush(stdout);
}

int listen_for(const char *line) {
    char heard[256];
    if (fgets(heard, sizeof heard, stdin) == NULL) {
        return 0;
    }
    heard[strcspn(heard, "\n")] = '\0';
    CHECK(strcmp(heard, line) == 0);
    return 1;
}
