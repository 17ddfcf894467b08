/* SPDX-License-Identifier: Apache-2.0 */
#include "vm_side.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct side_cpus side_cpus;

void side_set_thread(int thread)
{
    snprintf(side_cpus.text, sizeof side_cpus.text, "[" CPU("0", "%d") "," CPU("1", "7") "]",
             thread);
}

void side_open_as(struct side *s, const char *role, struct fake_qmp *fake)
{
    struct qmp_endpoint ep;
    *s = (struct side){.fake = fake};
    s->loop = loop_new(&s->e);
    assert_int_equal(qmp_endpoint_parse(fake_qmp_endpoint(fake), &ep, &s->e), 0);
    s->vm = vm_qmp_open(s->loop, &ep, role, &s->e);
    if (s->vm == NULL)
        fail_msg("%s", s->e.msg);
    /* without it the scripts below are of either side; test_gate() has one */
    assert_true(((struct vm_qmp *)s->vm)->gated == (strcmp(role, "source") == 0));
    /* who stands at a gate cannot go on before the migration is cancelled */
    assert_non_null(strstr(s->vm->commands.go_on, "{\"execute\":\"cont\"}"));
    assert_true((strstr(s->vm->commands.go_on, "{\"execute\":\"migrate_cancel\"}") != NULL) ==
                (strcmp(role, "source") == 0));
    ((struct vm_qmp *)s->vm)->gated = false;
}

void side_open(struct side *s, struct fake_qmp *fake)
{
    side_open_as(s, "source", fake);
}

void side_open_probed(struct side *s, struct fake_qmp *fake)
{
    side_open(s, fake);
    if (s->vm->ops->probe(s->vm, &s->facts, &s->e) < 0) {
        fake_qmp_end(fake); /* which knows better */
        fail_msg("%s", s->e.msg);
    }
}

void side_close(struct side *s)
{
    s->vm->ops->close(s->vm);
    loop_free(s->loop);
    fake_qmp_end(s->fake);
}

void side_expect(const struct side *s, enum err_class class, const char *says)
{
    if (s->e.class != class || strstr(s->e.msg, says) == NULL)
        fail_msg("%s: '%s' instead of %s: '%s'", err_class_name(s->e.class), s->e.msg,
                 err_class_name(class), says);
}

void side_check(const char *version, const struct fake_step *steps, size_t count,
                const struct vm_settings *settings, enum err_class class, const char *says)
{
    struct side s;
    side_open_probed(&s, fake_qmp_start(version, FAKE_UNIX, steps, count));
    int rc = s.vm->ops->check(s.vm, settings, &s.e);
    assert_int_equal(rc, class == ERR_NONE ? 0 : -1);
    side_expect(&s, class, says);
    side_close(&s);
}
