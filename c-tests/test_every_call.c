/*
 * Every single system call of a day's work fails: creation, writes, growth, reopening.
 *
 * Each call of every kind (see faults.c) fails once alone and once with all that follow. The
 * operation that it hits reports that and has changed nothing, reads go on, and a store that is
 * opened again has what was acknowledged.
 */
#include "test.h"

#include <errno.h>
#include <unistd.h>

#include "days_work.h"
#include "strikes.h"

/* The directory of the store. */
static const char *directory;

static void reopen(void) {
    pm_error error = PM_ERROR_INIT;
    int32_t status = pm_close(day_store, &error);
    CHECK(status == PM_OK || status == PM_ERR_CLOSED);
    OK(day_open(why()));
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
        OK(day_open(why()));
        day_check();
        return;
    }
    /* If the system gave no larger map and the old one was released, the store is closed. */
    status = pm_verify(day_store, &error);
    if (status == PM_ERR_CLOSED) {
        pm_store *closed = day_store;
        OK(day_open(why()));
        CHECK_INT(PM_ERR_CLOSED, pm_close(closed, NULL));
    }
    day_check();
    if (step->verb == READ) {
        return;
    }
    status = day_take(step, &error);
    if (status == PM_ERR_WRITES_STOPPED) {
        reopen();
        day_check();
        status = day_take(step, &error);
    }
    CHECK_INT(PM_OK, status);
    day_note(step);
    day_check();
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
    day_begin(place("pool.db"));
    fault_after(fault->kind, k, count, fault->error);
    for (i = 0; i < day_len; i++) {
        pm_error error = PM_ERROR_INIT;
        int32_t status = day_take(&day[i], &error);
        if (status == PM_OK) {
            day_note(&day[i]);
            continue;
        }
        hits += fault_end(fault->kind);
        CHECK(hits > 0);
        check_told(&error, status, fault, directory);
        (*refused)++;
        recover(&day[i], fault->kind);
    }
    hits += fault_end(fault->kind);
    OK(day_open(why()));
    day_check();
    close_store(day_store);
    remove_store();
    return hits > 0;
}

static void begin(void) {
    directory = place("");
    fault_below(directory);
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
