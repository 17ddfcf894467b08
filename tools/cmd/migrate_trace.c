/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cmd/migrate_trace.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/log.h"
#include "version.h"

int migrate_trace_open(struct migrate_trace *t, const char *path, struct err *e)
{
    if (path == NULL)
        return 0;
    CLEANUP_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY, 0666);
    if (fd < 0)
        return err_set(e, ERR_REFUSED, errno, "--trace: %s: cannot be written", path);
    t->file = fdopen(fd, "w");
    if (t->file == NULL)
        return err_set(e, ERR_REFUSED, errno, "--trace: %s: cannot be written", path);
    (void)TAKE_FD(fd);
    t->path = path;
    return 0;
}

static int migrate_trace_write(struct migrate_trace *t, struct err *e)
{
    if (ftruncate(fileno(t->file), 0) < 0 && errno != EINVAL) /* of a pipe */
        return err_set(e, ERR_IO, errno, "cannot empty it");
    return trace_write(&t->record, t->file, e);
}

void migrate_trace_close(struct migrate_trace *t, const char *result, const char *route,
                         const struct migrate_report *report)
{
    struct trace *r = &t->record;
    struct err e = {0};
    if (t->file == NULL)
        return;
    snprintf(r->godwit, sizeof r->godwit, "%s", GODWIT_VERSION);
    snprintf(r->route, sizeof r->route, "%s", route != NULL ? route : "");
    snprintf(r->result, sizeof r->result, "%s", result);
    r->total_ns = report->ended_ns - report->started_ns;
    r->downtime_ns = report->downtime_observed_ns;
    if (!r->planned)
        log_warn("%s: there is no trace: the migration was refused before it was planned", t->path);
    else if (migrate_trace_write(t, &e) < 0)
        log_warn("%s: %s", t->path, e.msg);
    if (fclose(t->file) != 0 && e.class == ERR_NONE)
        log_warn("%s: cannot write the trace", t->path);
    t->file = NULL;
    trace_free(r);
}
