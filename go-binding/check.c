#include "check.h"
#include "report.h"

/* Ends a call that made a report: counts how much room that takes. */
static int32_t measured(int32_t status, const pm_report *from, pmgo_report *report,
                        const pm_error *error, pmgo_reply *reply)
{
    size_t i;

    if (from != NULL) {
        report->total = from->total;
        report->unfixable = from->unfixable;
        report->left = from->left;
        report->count = from->count;
        report->backup_len = report->texts_len = from->backup_len;
        for (i = 0; i < from->count; i++) {
            report->texts_len += from->findings[i]->name_len + from->findings[i]->text_len;
        }
        reply->handle = (uintptr_t)from;
    }
    return end(status, error, reply);
}

int32_t pmgo_check(uintptr_t store, size_t limit, pmgo_report *report, pmgo_reply *reply)
{
    pm_error error;
    pm_report *found = NULL;
    int32_t status;

    begin(&error);
    status = pm_check((pm_store *)store, limit, &found, &error);
    return measured(status, found, report, &error, reply);
}

int32_t pmgo_check_file(const char *path, size_t path_len, const pm_options *options, size_t limit,
                        pmgo_report *report, pmgo_reply *reply)
{
    pm_error error;
    pm_report *found = NULL;
    int32_t status;

    begin(&error);
    status = pm_check_file(path, path_len, options, limit, &found, &error);
    return measured(status, found, report, &error, reply);
}

int32_t pmgo_repair(const char *path, size_t path_len, uint32_t flags, const char *backup,
                    size_t backup_len, size_t limit, uint64_t lock_wait_ms, pmgo_report *report,
                    pmgo_reply *reply)
{
    pm_error error;
    pm_repair_options options = PM_REPAIR_OPTIONS_INIT;
    pm_report *found = NULL;
    int32_t status;

    begin(&error);
    options.flags = flags;
    options.backup = backup;
    options.backup_len = backup_len;
    options.limit = limit;
    options.lock_wait_ms = lock_wait_ms;
    status = pm_repair(path, path_len, &options, &found, &error);
    return measured(status, found, report, &error, reply);
}

int32_t pmgo_salvage(const char *damaged, size_t damaged_len, const char *target, size_t target_len,
                     const pm_options *options, size_t limit, pm_salvaged *salvaged,
                     pmgo_report *report, pmgo_reply *reply)
{
    pm_error error;
    pm_report *found = NULL;
    int32_t status;

    begin(&error);
    salvaged->struct_size = sizeof *salvaged;
    status = pm_salvage(damaged, damaged_len, target, target_len, options, limit, salvaged, &found,
                        &error);
    return measured(status, found, report, &error, reply);
}

/* Copies a text and returns where the next one goes. */
static char *put(char *to, const char *text, size_t len)
{
    if (len > 0) {
        memcpy(to, text, len);
    }
    return to + len;
}

void pmgo_report_take(uintptr_t from, pmgo_finding *findings, char *texts)
{
    pm_report *report = (pm_report *)from;
    size_t i;

    for (i = 0; i < report->count; i++) {
        const pm_finding *finding = report->findings[i];

        findings[i].name_len = finding->name_len;
        findings[i].text_len = finding->text_len;
        findings[i].device_id = finding->device_id;
        findings[i].kind = finding->kind;
        findings[i].fix = finding->fix;
        texts = put(texts, finding->name, finding->name_len);
        texts = put(texts, finding->text, finding->text_len);
    }
    put(texts, report->backup, report->backup_len);
    pm_free(report);
}
