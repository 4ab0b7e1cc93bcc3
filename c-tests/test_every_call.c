/*
 * Every single system call of a day's work fails: creation, writes, growth, reopening.
 *
 * Each call of every kind (see faults.c) fails once alone and once with all that follow. The
 * operation that it hits reports that and has changed nothing, reads go on, and a store that is
 * opened again has what was acknowledged.
 */
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "strikes.h"

#define DEVICES 16

/* What a device must be like; an entry without a name is free. */
struct expected {
    const char *name;
    int32_t state;
    size_t text_len;
};

enum verb { OPEN, ADD, TEXT, STATE, FAULTY, REMOVE, LIST, READ, CLOSE };

struct step {
    enum verb verb;
    const char *name;
    size_t text_len;
};

/* A map of 1 MiB at first, which these devices do not fit in. */
static const struct step steps[] = {
    {OPEN, NULL, 0},     {ADD, "base", 0},     {ADD, "large", 100 << 10}, {TEXT, "base", 3000},
    {LIST, "x", 0},      {FAULTY, "x1", 0},    {ADD, "x1", 10},           {STATE, "x2", 0},
    {READ, NULL, 0},     {ADD, "g1", 250000},  {ADD, "g2", 250000},       {ADD, "g3", 250000},
    {ADD, "g4", 250000}, {REMOVE, "g2", 0},    {TEXT, "g3", 200000},      {LIST, "y", 5000},
    {CLOSE, NULL, 0},    {OPEN, NULL, 0},      {READ, NULL, 0},           {TEXT, "g1", 1},
    {REMOVE, "g4", 0},   {ADD, "z", 0},        {REMOVE, "z", 0},          {ADD, "z", 5000},
    {REMOVE, "z", 0},    {ADD, "z", 0},        {REMOVE, "z", 0},          {ADD, "last", 60000},
    {CLOSE, NULL, 0},
};

static pm_store *store;
static const char *path;
/* The directory of the store. */
static const char *directory;
static struct expected model[DEVICES];
static char text[300 << 10];

static struct expected *find(const char *name) {
    struct expected *end = model + DEVICES;
    struct expected *at;
    for (at = model; at < end; at++) {
        if (at->name != NULL && strcmp(at->name, name) == 0) {
            return at;
        }
    }
    return NULL;
}

static void expect(const char *name, int32_t state, size_t text_len) {
    struct expected *at = find(name);
    size_t i;
    for (i = 0; at == NULL && i < DEVICES; i++) {
        at = model[i].name == NULL ? &model[i] : NULL;
    }
    CHECK(at != NULL);
    at->name = name;
    at->state = state;
    at->text_len = text_len;
}

/* Fails unless the store is sound and holds what the model does. */
static void check_model(void) {
    size_t i;
    uint64_t count = 0;
    for (i = 0; i < DEVICES; i++) {
        pm_device *found;
        if (model[i].name == NULL) {
            continue;
        }
        count++;
        OK(pm_get_device(store, PM_CSTR(model[i].name), &found, why()));
        CHECK_INT(model[i].state, found->state);
        CHECK_INT(model[i].text_len, found->error_len);
        pm_free(found);
    }
    CHECK_INT(count, device_count(store));
    check_store(store);
}

static int32_t open_it(pm_error *error) {
    pm_options options = PM_OPTIONS_INIT;
    options.map_size = 1 << 20;
    return pm_open(PM_CSTR(path), &options, &store, error);
}

static const char *second_name(const char *name) {
    return strcmp(name, "x") == 0 ? "x2" : "y2";
}

static const char *first_name(const char *name) {
    return strcmp(name, "x") == 0 ? "x1" : "y1";
}

/* Adds two devices and changes a third. */
static int32_t apply_list(const struct step *step, pm_error *error) {
    pm_device first = device_named(first_name(step->name));
    pm_device second = device_named(second_name(step->name));
    pm_device base = device_named("base");
    pm_change list[3];
    first.error = second.error = text;
    first.error_len = second.error_len = step->text_len;
    base.state = PM_STATE_SUSPENDED;
    list[0].kind = list[1].kind = PM_CHANGE_ADD;
    list[0].device = &first;
    list[1].device = &second;
    list[2].kind = PM_CHANGE_STATE;
    list[2].device = &base;
    return pm_apply(store, list, COUNT(list), NULL, error);
}

static int32_t set_text(pm_device *device, void *len) {
    return pm_device_set_error(device, text, *(size_t *)len, NULL);
}

static int32_t read_all(pm_error *error) {
    pm_running_reads *reads;
    pm_names *names;
    int32_t status = pm_verify(store, error);
    if (status == PM_OK) {
        status = pm_get_device_names(store, &names, error);
    }
    if (status == PM_OK) {
        pm_free(names);
        status = pm_get_running_reads(store, &reads, error);
    }
    if (status == PM_OK) {
        pm_free(reads);
    }
    return status;
}

static int32_t take(const struct step *step, pm_error *error) {
    pm_device device;
    size_t len = step->text_len;
    switch (step->verb) {
        case OPEN:
            return open_it(error);
        case ADD:
            device = device_named(step->name);
            device.error = text;
            device.error_len = len;
            return pm_add_device(store, &device, error);
        case TEXT:
            return pm_update_device(store, PM_CSTR(step->name), set_text, &len, error);
        case STATE:
            return pm_change_device_state(store, PM_CSTR(step->name), PM_STATE_RESUMED, error);
        case FAULTY:
            return pm_mark_faulty(store, PM_CSTR(step->name), error);
        case REMOVE:
            return pm_remove_device(store, PM_CSTR(step->name), error);
        case LIST:
            return apply_list(step, error);
        case READ:
            return read_all(error);
        case CLOSE:
            return pm_close(store, error);
    }
    return PM_ERR_INTERNAL;
}

/* Notes in the model what a step that succeeded has changed. */
static void note(const struct step *step) {
    struct expected *it = step->name != NULL ? find(step->name) : NULL;
    switch (step->verb) {
        case ADD:
            expect(step->name, PM_STATE_UNKNOWN, step->text_len);
            break;
        case TEXT:
            it->text_len = step->text_len;
            break;
        case STATE:
            it->state = PM_STATE_RESUMED;
            break;
        case FAULTY:
            it->state = PM_STATE_FAULTY;
            break;
        case REMOVE:
            it->name = NULL;
            break;
        case LIST:
            expect(first_name(step->name), PM_STATE_UNKNOWN, step->text_len);
            expect(second_name(step->name), PM_STATE_UNKNOWN, step->text_len);
            find("base")->state = PM_STATE_SUSPENDED;
            break;
        case OPEN:
        case READ:
        case CLOSE:
            break;
    }
}

static void reopen(void) {
    pm_error error = PM_ERROR_INIT;
    int32_t status = pm_close(store, &error);
    CHECK(status == PM_OK || status == PM_ERR_CLOSED);
    OK(open_it(why()));
}

/*
 * After a step that failed: reads go on, and so do writes, if need be with the store opened again.
 * A store that could not be written or flushed leaves no temporary file.
 */
static void recover(const struct step *step, enum fault_kind kind) {
    pm_error error = PM_ERROR_INIT;
    int32_t status;
    if (step->verb == OPEN) {
        CHECK((kind != FAULT_WRITE && kind != FAULT_SYNC) ||
              access(place("pool.db.new"), F_OK) != 0);
        OK(open_it(why()));
        check_model();
        return;
    }
    /* If the system gave no larger map and the old one was released, the store is closed. */
    status = pm_verify(store, &error);
    if (status == PM_ERR_CLOSED) {
        pm_store *closed = store;
        OK(open_it(why()));
        CHECK_INT(PM_ERR_CLOSED, pm_close(closed, NULL));
    }
    check_model();
    if (step->verb == READ) {
        return;
    }
    status = take(step, &error);
    if (status == PM_ERR_WRITES_STOPPED) {
        reopen();
        check_model();
        status = take(step, &error);
    }
    CHECK_INT(PM_OK, status);
    note(step);
    check_model();
}

static void remove_store(void) {
    static const char *const files[] = {"pool.db", "pool.db-lock", "pool.db.new"};
    size_t i;
    for (i = 0; i < COUNT(files); i++) {
        unlink(place(files[i]));
    }
}

/* Takes all steps while `count` calls from the k-th on fail; see strike_work. */
static int work(const struct fault *fault, unsigned k, unsigned count, unsigned *refused) {
    unsigned hits = 0;
    size_t i;
    memset(model, 0, sizeof model);
    store = NULL;
    fault_after(fault->kind, k, count, fault->error);
    for (i = 0; i < COUNT(steps); i++) {
        pm_error error = PM_ERROR_INIT;
        int32_t status = take(&steps[i], &error);
        if (status == PM_OK) {
            note(&steps[i]);
            continue;
        }
        hits += fault_end(fault->kind);
        CHECK(hits > 0);
        check_told(&error, status, fault, directory);
        (*refused)++;
        recover(&steps[i], fault->kind);
    }
    hits += fault_end(fault->kind);
    OK(open_it(why()));
    check_model();
    close_store(store);
    remove_store();
    return hits > 0;
}

static void begin(void) {
    path = place("pool.db");
    directory = place("");
    fault_below(directory);
    memset(text, 't', sizeof text);
}

static void writes(void) {
    begin();
    strike(work, FAULT_WRITE, EIO, 100);
    strike(work, FAULT_WRITE, ENOSPC, 100);
    strike(work, FAULT_WRITE, EDQUOT, 100);
}

static void writes_of_meta_pages(void) {
    begin();
    strike(work, FAULT_META, EIO, 10);
    strike(work, FAULT_META, ENOSPC, 10);
    strike(work, FAULT_META, FAULT_SHORT, 10);
}

static void flushes(void) {
    begin();
    strike(work, FAULT_SYNC, EIO, 10);
    strike(work, FAULT_SYNC, ENOSPC, 10);
    strike(work, FAULT_SYNC, EDQUOT, 10);
}

static void lengths(void) {
    begin();
    strike(work, FAULT_LENGTH, EIO, 1);
    strike(work, FAULT_LENGTH, ENOSPC, 1);
}

static void maps(void) {
    begin();
    strike(work, FAULT_MAP, ENOMEM, 4);
    strike(work, FAULT_MAP, EIO, 4);
}

static void opens(void) {
    begin();
    strike(work, FAULT_OPEN, EMFILE, 5);
    strike(work, FAULT_OPEN, EIO, 5);
    strike(work, FAULT_OPEN, ENOMEM, 5);
}

static void address_space(void) {
    begin();
    strike(work, FAULT_SPACE, ENOMEM, 3);
}

/* A write that a signal interrupts is repeated; a short write is continued or fails as a whole. */
static void writes_that_do_not_get_through_at_once(void) {
    begin();
    CHECK_INT(0, strike_for(work, 1, FAULT_WRITE, EINTR, 100));
    strike(work, FAULT_WRITE, FAULT_SHORT, 100);
}

/* The meta page is in the file, and its flush failed: LMDB writes the old one back. */
static void meta_pages_whose_flush_fails(void) {
    begin();
    CHECK(strike_for(work, 1, FAULT_META, EIO | FAULT_DONE, 10) > 0);
    CHECK(strike_for(work, 1, FAULT_META, ENOSPC | FAULT_DONE, 10) > 0);
}

static void looks_at_files(void) {
    begin();
    strike(work, FAULT_STAT, EIO, 20);
    strike(work, FAULT_STAT, ENOMEM, 20);
}

static void locks(void) {
    begin();
    strike(work, FAULT_LOCK, ENOLCK, 20);
    strike(work, FAULT_LOCK, EIO, 20);
    CHECK_INT(0, strike_for(work, 1, FAULT_LOCK, EINTR, 20));
}

static void reads(void) {
    begin();
    strike(work, FAULT_READ, EIO, 20);
    CHECK_INT(0, strike_for(work, 1, FAULT_READ, FAULT_SHORT, 20));
    /* LMDB repeats neither of its two reads when it opens a file. */
    CHECK(strike_for(work, 1, FAULT_READ, EINTR, 20) <= 6);
}

/* A failed close loses nothing: everything was flushed before. */
static void closes(void) {
    begin();
    CHECK_INT(0, strike_for(work, 1, FAULT_CLOSE, EIO, 5));
    CHECK_INT(0, strike_for(work, FOR_EVER, FAULT_CLOSE, EIO, 5));
}

static void names_and_rights(void) {
    begin();
    strike(work, FAULT_NAME, EIO, 1);
    strike(work, FAULT_NAME, ENOSPC, 1);
}

#ifndef PM_TEST_OTHER_MALLOC
static void no_memory(void) {
    begin();
    fault_memory_of_lmdb();
    strike(work, FAULT_MEMORY, ENOMEM, 50);
}
#endif

static const struct test tests[] = {
    NAMED(writes),
    NAMED(writes_of_meta_pages),
    NAMED(flushes),
    NAMED(lengths),
    NAMED(maps),
    NAMED(opens),
    NAMED(address_space),
    NAMED(writes_that_do_not_get_through_at_once),
    NAMED(meta_pages_whose_flush_fails),
    NAMED(looks_at_files),
    NAMED(locks),
    NAMED(reads),
    NAMED(closes),
    NAMED(names_and_rights),
#ifndef PM_TEST_OTHER_MALLOC
    NAMED(no_memory),
#endif
};
TEST_MAIN(tests)
