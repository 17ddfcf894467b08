/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/migrate/trace_log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "bench/migrate/trial.h"
#include "core/cleanup.h"
#include "core/clock.h"

static const struct {
    const char *name;
    enum trace_point point;
} points[] = {
    {"vmstate_downtime_checkpoint ", TRACE_CHECKPOINT},
    {"vmstate_downtime_save ", TRACE_SAVE},
    {"vmstate_downtime_load ", TRACE_LOAD},
};

/* "PID@SECONDS.MICROS:" before the name, where QEMU is asked to give it (-msg timestamp=on). */
static int64_t trace_time(const char *text, const char *name, int64_t offset_ns)
{
    int pid, end = 0;
    long long seconds, micros;
    if (name == text || sscanf(text, "%d@%lld.%6lld:%n", &pid, &seconds, &micros, &end) != 3 ||
        text + end != name)
        return TRIAL_NEVER;
    return seconds * NS_PER_S + micros * NS_PER_US - offset_ns;
}

/* "type=T idstr=NAME instance_id=N downtime=US": a name may have spaces. */
static bool trace_parse_device(const char *text, struct trace_line *line)
{
    const char *id = strstr(text, " idstr="), *instance = strstr(text, " instance_id=");
    int id_n;
    long long us;
    if (id == NULL || instance == NULL || instance < id ||
        sscanf(text, "type=%15s", line->type) != 1 ||
        sscanf(instance, " instance_id=%d downtime=%lld", &line->instance, &us) != 2)
        return false;
    id += strlen(" idstr=");
    id_n = (int)(instance - id);
    snprintf(line->name, sizeof line->name, "%.*s", id_n, id);
    line->took_ns = us * NS_PER_US;
    return true;
}

bool trace_log_parse(const char *text, int64_t offset_ns, struct trace_line *line)
{
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        const char *name = strstr(text, points[i].name);
        if (name == NULL)
            continue;
        const char *rest = name + strlen(points[i].name);
        *line = (struct trace_line){.point = points[i].point,
                                    .at_ns = trace_time(text, name, offset_ns)};
        if (line->point != TRACE_CHECKPOINT)
            return trace_parse_device(rest, line);
        snprintf(line->name, sizeof line->name, "%.*s", (int)strcspn(rest, " \r\n"), rest);
        return line->name[0] != '\0';
    }
    return false;
}

int64_t trace_log_end(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? st.st_size : 0;
}

static int trace_log_add(struct trace_log *log, size_t *size, const struct trace_line *line)
{
    if (log->n == *size) {
        size_t more_n = *size > 0 ? *size * 2 : 64;
        struct trace_line *more = reallocarray(log->lines, more_n, sizeof *more);
        if (more == NULL)
            return -1;
        log->lines = more;
        *size = more_n;
    }
    log->lines[log->n++] = *line;
    return 0;
}

int trace_log_read(const char *path, int64_t from, struct trace_log *log, struct err *e)
{
    *log = (struct trace_log){0};
    CLEANUP_FCLOSE FILE *f = fopen(path, "re");
    if (f == NULL)
        return errno == ENOENT ? 0 : err_set(e, ERR_IO, errno, "%s: cannot open it", path);
    if (from > trace_log_end(path)) /* begun anew */
        from = 0;
    if (fseeko(f, from, SEEK_SET) < 0)
        return err_set(e, ERR_IO, errno, "%s: cannot read it", path);
    CLEANUP_FREE char *text = NULL;
    size_t text_size = 0, size = 0;
    ssize_t n;
    int64_t offset_ns = clock_epoch_offset_ns();
    while ((n = getline(&text, &text_size, f)) > 0) {
        struct trace_line line;
        if (text[n - 1] == '\n' && trace_log_parse(text, offset_ns, &line) &&
            trace_log_add(log, &size, &line) < 0) {
            trace_log_free(log);
            return err_set(e, ERR_IO, ENOMEM, "%s: cannot keep its lines", path);
        }
    }
    return 0;
}

void trace_log_free(struct trace_log *log)
{
    free(log->lines);
    *log = (struct trace_log){0};
}
