/*
 * Mistakes that the sanitizers must catch: unless they do, a clean run of the tests under them
 * proves nothing.
 * Each is made with memory that the library has handed out.
 */
#include <pool_metadata.h>

#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static pm_names *some_names(void) {
    char path[] = "/tmp/pm-proof-XXXXXX";
    char file[64];
    char lock[64];
    pm_store *store = NULL;
    pm_names *names = NULL;
    if (mkdtemp(path) == NULL) {
        exit(90);
    }
    snprintf(file, sizeof file, "%s/pool.db", path);
    snprintf(lock, sizeof lock, "%s-lock", file);
    if (pm_open(PM_CSTR(file), NULL, &store, NULL) != PM_OK ||
        pm_get_device_names(store, &names, NULL) != PM_OK ||
        pm_close(store, NULL) != PM_OK) {
        exit(91);
    }
    unlink(file);
    unlink(lock);
    rmdir(path);
    return names;
}

static void *count_up(void *count) {
    ++*(size_t *)count;
    return NULL;
}

/* Two threads and no lock. */
static void race(size_t *count) {
    pthread_t threads[2];
    int i;
    for (i = 0; i < 2; i++) {
        if (pthread_create(&threads[i], NULL, count_up, count) != 0) {
            exit(92);
        }
    }
    for (i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
}

int main(int argc, char **argv) {
    pm_names *names = some_names();
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "use-after-free") == 0) {
        pm_free(names);
        return names->count != 0;
    }
    if (strcmp(what, "overflow") == 0) {
        int count = INT_MAX - (int)names->count;
        pm_free(names);
        return ++count == 0;
    }
    if (strcmp(what, "leak") == 0) {
        names = NULL;
        return names != NULL;
    }
    if (strcmp(what, "race") == 0) {
        race(&names->count);
    }
    pm_free(names);
    return 0;
}
