/*
 * A process to be killed: victim PREFIX PATH opens the store, prints "O", and takes one step after
 * another until it is killed, with a "+" for each that is done. tests/kills/steps.rs takes the same
 * steps and knows what they leave.
 */
#include <pool_metadata.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BUFFER (64 << 10)
#define LARGE 20000

static pm_store *store;
static const char *prefix;
static char text[LARGE];

static void ok(int32_t status, const pm_error *error) {
    if (status != PM_OK) {
        fprintf(stderr, "victim: %s: %s\n", pm_status_name(status), error->message);
        exit(1);
    }
}

static void say(char what) {
    if (write(STDOUT_FILENO, &what, 1) != 1) {
        exit(2);
    }
}

/* The device that step `step` is about; up to two at a time. */
static pm_device device(unsigned step, const char *suffix, size_t text_len) {
    static char names[2][64];
    static unsigned next;
    pm_device made = PM_DEVICE_INIT;
    char *name = names[next++ % 2];
    snprintf(name, sizeof names[0], "%s-%u%s", prefix, step / 8, suffix);
    made.name = name;
    made.name_len = strlen(name);
    made.size = 4096;
    made.state = PM_STATE_CREATED;
    made.error = text;
    made.error_len = text_len;
    return made;
}

static void update(unsigned step) {
    pm_error error = PM_ERROR_INIT;
    pm_device named = device(step, "", 0);
    pm_update *begun;
    pm_device *record;
    ok(pm_update_begin(store, named.name, named.name_len, &begun, &record, &error), &error);
    ok(pm_device_set_error(record, text, step * 97 % 5000, &error), &error);
    ok(pm_update_commit(begun, &error), &error);
}

static void apply(int32_t first_kind, pm_device *first, int32_t second_kind, pm_device *second,
                  pm_device *activated) {
    pm_error error = PM_ERROR_INIT;
    pm_change changes[3];
    changes[0].kind = first_kind;
    changes[0].device = first;
    changes[1].kind = second_kind;
    changes[1].device = second;
    changes[2].kind = PM_CHANGE_STATE;
    changes[2].device = activated;
    ok(pm_apply(store, changes, activated != NULL ? 3 : 2, NULL, &error), &error);
}

static void walk(void) {
    static uint64_t buffer[BUFFER / sizeof(uint64_t)];
    pm_error error = PM_ERROR_INIT;
    pm_walk *walk;
    size_t count;
    ok(pm_walk_open(store, &walk, &error), &error);
    do {
        ok(pm_walk_next(walk, buffer, sizeof buffer, &count, NULL, &error), &error);
    } while (count > 0);
    pm_walk_close(walk);
}

static void take(unsigned step) {
    pm_error error = PM_ERROR_INIT;
    pm_device own = device(step, "", 0);
    switch (step % 8) {
        case 0:
            ok(pm_add_device(store, &own, &error), &error);
            break;
        case 1:
            update(step);
            break;
        case 2: {
            char name[64];
            pm_device a = device(step, "-a", 0);
            pm_device b;
            /* Three at a time: this one keeps its name by itself. */
            snprintf(name, sizeof name, "%s-%u", prefix, step / 8);
            b = device(step, "-b", 0);
            own.name = name;
            own.state = PM_STATE_ACTIVATED;
            apply(PM_CHANGE_ADD, &a, PM_CHANGE_ADD, &b, &own);
            break;
        }
        case 3:
            walk();
            break;
        case 4:
            own = device(step, "-a", 0);
            ok(pm_mark_faulty(store, own.name, own.name_len, &error), &error);
            break;
        case 5:
            own = device(step, "-b", 0);
            ok(pm_change_device_state(store, own.name, own.name_len, PM_STATE_SUSPENDED, &error),
               &error);
            break;
        case 6: {
            pm_device b = device(step, "-b", 0);
            pm_device large = device(step, "-L", step / 8 % 4 == 3 ? LARGE : 0);
            apply(PM_CHANGE_REMOVE, &b, PM_CHANGE_ADD, &large, NULL);
            break;
        }
        default:
            if (step / 8 % 2 == 0) {
                ok(pm_remove_device(store, own.name, own.name_len, &error), &error);
            } else {
                own = device(step, "-a", 0);
                ok(pm_add_device(store, &own, &error), &error);
            }
    }
}

int main(int argc, char **argv) {
    pm_error error = PM_ERROR_INIT;
    pm_options options = PM_OPTIONS_INIT;
    unsigned step;
    if (argc != 3) {
        return 2;
    }
    /* One that hangs ends, and the test fails. */
    alarm(600);
    prefix = argv[1];
    memset(text, 'e', sizeof text);
    options.map_size = 1 << 20;
    options.lock_wait_ms = 30000;
    ok(pm_open(PM_CSTR(argv[2]), &options, &store, &error), &error);
    say('O');
    for (step = 0;; step++) {
        take(step);
        say('+');
    }
}
