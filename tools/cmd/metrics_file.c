/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cmd/metrics_file.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"

void metrics_label(FILE *to, const char *value)
{
    for (; *value != '\0'; value++) {
        if (*value == '\n')
            fputs("\\n", to);
        else if (*value == '"' || *value == '\\')
            fprintf(to, "\\%c", *value);
        else
            putc(*value, to);
    }
}

void metrics_head(FILE *to, const char *name, const char *type, const char *help)
{
    fprintf(to, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static int metrics_fail(const char *path, const char *unfinished, struct err *e)
{
    int sys = errno;
    if (unfinished != NULL)
        unlink(unfinished);
    return err_set(e, ERR_IO, sys, "%s: cannot write the metrics", path);
}

int metrics_file_write(const char *path, metrics_write_fn *fn, const void *arg, struct err *e)
{
    CLEANUP_FREE char *unfinished = NULL;
    if (asprintf(&unfinished, "%s.XXXXXX", path) < 0)
        return err_set(e, ERR_IO, ENOMEM, "%s", path);
    int fd = mkstemp(unfinished);
    if (fd < 0)
        return metrics_fail(path, NULL, e);
    FILE *to = fdopen(fd, "w");
    if (to == NULL) {
        close(fd);
        return metrics_fail(path, unfinished, e);
    }
    fn(to, arg);
    /* readable by the collector, which is another user */
    bool bad = fchmod(fd, 0644) < 0;
    bad |= ferror(to) != 0;
    bad |= fclose(to) != 0;
    if (bad || rename(unfinished, path) < 0)
        return metrics_fail(path, unfinished, e);
    return 0;
}
