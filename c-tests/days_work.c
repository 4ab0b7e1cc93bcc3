/* The work of a day on a store, step by step, and a model of what it must hold after each. */
#include "days_work.h"

#include <string.h>

#include "check.h"
#include "files.h"

#define DEVICES 16

/* What a device must be like; an entry without a name is free. */
struct expected {
    const char *name;
    int32_t state;
    size_t text_len;
};

/* A map of 1 MiB at first, which these devices do not fit in. */
const struct step day[] = {
    {OPEN, NULL, 0},     {ADD, "base", 0},     {ADD, "large", 100 << 10}, {TEXT, "base", 3000},
    {LIST, "x", 0},      {FAULTY, "x1", 0},    {ADD, "x1", 10},           {STATE, "x2", 0},
    {READ, NULL, 0},     {ADD, "g1", 250000},  {ADD, "g2", 250000},       {ADD, "g3", 250000},
    {ADD, "g4", 250000}, {REMOVE, "g2", 0},    {TEXT, "g3", 200000},      {LIST, "y", 5000},
    {CLOSE, NULL, 0},    {OPEN, NULL, 0},      {READ, NULL, 0},           {TEXT, "g1", 1},
    {REMOVE, "g4", 0},   {ADD, "z", 0},        {REMOVE, "z", 0},          {ADD, "z", 5000},
    {REMOVE, "z", 0},    {ADD, "z", 0},        {REMOVE, "z", 0},          {ADD, "last", 60000},
    {CLOSE, NULL, 0},
};
const size_t day_len = COUNT(day);

pm_store *day_store;

static const char *path;
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

void day_check(void) {
    size_t i;
    uint64_t count = 0;
    for (i = 0; i < DEVICES; i++) {
        pm_device *found;
        if (model[i].name == NULL) {
            continue;
        }
        count++;
        OK(pm_get_device(day_store, PM_CSTR(model[i].name), &found, why()));
        CHECK_INT(model[i].state, found->state);
        CHECK_INT(model[i].text_len, found->error_len);
        pm_free(found);
    }
    CHECK_INT(count, device_count(day_store));
    check_store(day_store);
}

int32_t day_open(pm_error *error) {
    pm_options options = PM_OPTIONS_INIT;
    options.map_size = 1 << 20;
    return pm_open(PM_CSTR(path), &options, &day_store, error);
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
    return pm_apply(day_store, list, COUNT(list), NULL, error);
}

static int32_t set_text(pm_device *device, void *len) {
    return pm_device_set_error(device, text, *(size_t *)len, NULL);
}

static int32_t read_all(pm_error *error) {
    pm_running_reads *reads;
    pm_names *names;
    int32_t status = pm_verify(day_store, error);
    if (status == PM_OK) {
        status = pm_get_device_names(day_store, &names, error);
    }
    if (status == PM_OK) {
        pm_free(names);
        status = pm_get_running_reads(day_store, &reads, error);
    }
    if (status == PM_OK) {
        pm_free(reads);
    }
    return status;
}

int32_t day_take(const struct step *step, pm_error *error) {
    pm_device device;
    size_t len = step->text_len;
    switch (step->verb) {
        case OPEN:
            return day_open(error);
        case ADD:
            device = device_named(step->name);
            device.error = text;
            device.error_len = len;
            return pm_add_device(day_store, &device, error);
        case TEXT:
            return pm_update_device(day_store, PM_CSTR(step->name), set_text, &len, error);
        case STATE:
            return pm_change_device_state(day_store, PM_CSTR(step->name), PM_STATE_RESUMED, error);
        case FAULTY:
            return pm_mark_faulty(day_store, PM_CSTR(step->name), error);
        case REMOVE:
            return pm_remove_device(day_store, PM_CSTR(step->name), error);
        case LIST:
            return apply_list(step, error);
        case READ:
            return read_all(error);
        case CLOSE:
            return pm_close(day_store, error);
    }
    return PM_ERR_INTERNAL;
}

void day_note(const struct step *step) {
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

void day_begin(const char *store_path) {
    path = store_path;
    day_store = NULL;
    memset(model, 0, sizeof model);
    memset(text, 't', sizeof text);
}
