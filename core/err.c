/* SPDX-License-Identifier: Apache-2.0 */
#include "core/err.h"

#include <assert.h>
#include <stdarg.h>
#include <string.h>

static const char *const class_names[] = {
    [ERR_NONE] = "none",         [ERR_USAGE] = "usage",         [ERR_REFUSED] = "refused",
    [ERR_IO] = "io",             [ERR_PROTO] = "protocol",      [ERR_QMP] = "qmp",
    [ERR_VIRT] = "libvirt",      [ERR_NFS] = "nfs",             [ERR_TIMEOUT] = "timeout",
    [ERR_CANCELLED] = "cancelled", [ERR_LOST] = "lost",         [ERR_UNCERTAIN] = "uncertain",
};
_Static_assert(sizeof(class_names) / sizeof(*class_names) == ERR_UNCERTAIN + 1,
               "every error class has a name");

int err_set(struct err *e, enum err_class class, int sys, const char *fmt, ...)
{
    assert(e->class == ERR_NONE && class != ERR_NONE);
    e->class = class;
    e->sys = sys;
    e->hint[0] = '\0';

    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(e->msg, sizeof e->msg, fmt, ap);
    va_end(ap);

    if (sys != 0 && n >= 0 && (size_t)n < sizeof e->msg)
        snprintf(e->msg + n, sizeof e->msg - (size_t)n, ": %s", strerror(sys));
    return -1;
}

int err_wrap(struct err *e, const char *fmt, ...)
{
    assert(e->class != ERR_NONE);
    char inner[sizeof e->msg];
    memcpy(inner, e->msg, sizeof inner);

    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(e->msg, sizeof e->msg, fmt, ap);
    va_end(ap);

    if (n >= 0 && (size_t)n < sizeof e->msg)
        snprintf(e->msg + n, sizeof e->msg - (size_t)n, ": %s", inner);
    return -1;
}

int err_hint(struct err *e, const char *fmt, ...)
{
    assert(e->class != ERR_NONE);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e->hint, sizeof e->hint, fmt, ap);
    va_end(ap);
    return -1;
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
    if (e->hint[0] != '\0')
        fprintf(to, "%s: hint: %s\n", program, e->hint);
}
