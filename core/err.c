/* SPDX-License-Identifier: Apache-2.0 */
#include "core/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/log.h"
#include "core/text.h"

static const char *const class_names[] = {
    [ERR_NONE] = "none",       [ERR_USAGE] = "usage",
    [ERR_REFUSED] = "refused", [ERR_IO] = "io",
    [ERR_PROTO] = "protocol",  [ERR_QMP] = "qmp",
    [ERR_VIRT] = "libvirt",    [ERR_NFS] = "nfs",
    [ERR_TIMEOUT] = "timeout", [ERR_CANCELLED] = "cancelled",
    [ERR_LOST] = "lost",       [ERR_UNCERTAIN] = "uncertain",
};
_Static_assert(sizeof(class_names) / sizeof(*class_names) == ERR_UNCERTAIN + 1,
               "every error class has a name");

/* A caller broke the rules of err.h: a bug, but none to end a migration for. */
static void err_misused(const char *what)
{
#ifdef ERR_STRICT
    fprintf(stderr, "bug: %s\n", what);
    abort();
#else
    log_debug("bug: %s", what);
#endif
}

/* msg = "<fmt…><between><last>", fitted. */
__attribute__((format(printf, 4, 0))) static void err_put(
    struct err *e, const char *between, const char *last, const char *fmt, va_list ap)
{
    CLEANUP_FREE char *first = NULL;
    CLEANUP_FREE char *whole = NULL;
    if (vasprintf(&first, fmt, ap) < 0)
        first = NULL;
    if (first != NULL && asprintf(&whole, "%s%s%s", first, between, last) < 0)
        whole = NULL;
    if (whole != NULL)
        text_fit(e->msg, sizeof e->msg, whole);
    else /* no memory for more than this */
        memmove(e->msg, last, strlen(last) + 1);
}

int err_set(struct err *e, enum err_class class, int sys, const char *fmt, ...)
{
    if (e->class != ERR_NONE) {
        err_misused(e->msg);
        return -1;
    }
    e->class = class;
    e->sys = sys;
    e->hint = NULL;
    va_list ap;
    va_start(ap, fmt);
    err_put(e, sys != 0 ? ": " : "", sys != 0 ? strerror(sys) : "", fmt, ap);
    va_end(ap);
    return -1;
}

int err_wrap(struct err *e, const char *fmt, ...)
{
    if (e->class == ERR_NONE) {
        err_misused(fmt);
        err_set(e, ERR_IO, 0, "failed, and did not say why");
    }
    va_list ap;
    va_start(ap, fmt);
    err_put(e, ": ", e->msg, fmt, ap);
    va_end(ap);
    return -1;
}

int err_hint(struct err *e, const char *fmt, ...)
{
    if (e->class == ERR_NONE) {
        err_misused(fmt);
        return -1;
    }
    va_list ap;
    va_start(ap, fmt);
    e->hint = text_keep_v(fmt, ap);
    va_end(ap);
    return -1;
}

int err_stopped(struct err *e)
{
    bool cut_short = e->class == ERR_TIMEOUT || e->class == ERR_LOST || e->sys == EINTR ||
                     e->sys == ECANCELED;
    if (!cut_short || e->class == ERR_UNCERTAIN)
        return -1;
    e->class = ERR_CANCELLED;
    return err_wrap(e, "stopped");
}

void err_clear(struct err *e)
{
    *e = (struct err){0};
}

const char *err_class_name(enum err_class class)
{
    return class_names[class];
}

void err_print(const struct err *e, const char *program, FILE *to)
{
    fprintf(to, "%s: error: %s\n", program, e->msg);
    if (e->hint != NULL)
        fprintf(to, "%s: hint: %s\n", program, e->hint);
}
