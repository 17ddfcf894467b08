/* SPDX-License-Identifier: Apache-2.0 */
#include "core/check_list.h"
#include "core/text.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const verdict_names[] = {
    [CHECK_OK] = "ok",
    [CHECK_WARN] = "warn",
    [CHECK_REFUSE] = "refuse",
    [CHECK_SKIPPED] = "skipped",
};

const char *check_verdict_name(enum check_verdict verdict)
{
    return verdict_names[verdict];
}

static struct check_finding *check_list_grow(struct check_list *l)
{
    if (l->n == l->room) {
        size_t room = l->room > 0 ? 2 * l->room : 32;
        struct check_finding *at = reallocarray(l->at, room, sizeof *at);
        if (at == NULL) {
            l->lost = true;
            return NULL;
        }
        l->at = at;
        l->room = room;
    }
    return &l->at[l->n++];
}

void check_list_add(struct check_list *l, enum check_verdict verdict, const char *what,
                    const char *fmt, ...)
{
    struct check_finding *f = check_list_grow(l);
    va_list ap;
    if (f == NULL)
        return;
    *f = (struct check_finding){.verdict = verdict};
    text_fit(f->what, sizeof f->what, what);
    text_one_line(f->what);
    va_start(ap, fmt);
    f->sentence = text_keep_line_v(fmt, ap);
    va_end(ap);
}

void check_list_fix_by(struct check_list *l, const char *command)
{
    if (l->lost)
        return;
    assert(l->n > 0);
    l->at[l->n - 1].fix = command;
}

void check_list_fix(struct check_list *l, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    check_list_fix_by(l, text_command_v(fmt, ap));
    va_end(ap);
}

size_t check_list_count(const struct check_list *l, enum check_verdict verdict)
{
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++)
        n += l->at[i].verdict == verdict;
    return n;
}

int check_list_verdict(const struct check_list *l, struct err *e)
{
    if (l->lost)
        return err_set(e, ERR_IO, ENOMEM, "cannot allocate the list of findings");
    for (size_t i = 0; i < l->n; i++) {
        const struct check_finding *f = &l->at[i];
        if (f->verdict != CHECK_REFUSE)
            continue;
        err_set(e, ERR_REFUSED, 0, "%s: %s", f->what, f->sentence);
        if (f->fix != NULL)
            e->hint = f->fix;
        return -1;
    }
    return 0;
}

void check_list_free(struct check_list *l)
{
    free(l->at);
    *l = (struct check_list){0};
}
