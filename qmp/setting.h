/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Migration capabilities and parameters that a person sets by QEMU's own names (struct vm_settings,
 * `set`).
 *
 * A value is a whole number or a size with a unit (50M, 1.5G), on, off, true, false, one of the words
 * of an enum, or a text: as the QEMU's own schema says. What only the source heeds is set there
 * alone: a destination may have no such name, or refuse it (dirty-limit needs a dirty ring).
 */
#ifndef QMP_SETTING_H
#define QMP_SETTING_H

#include <json-c/json.h>

#include "core/cleanup.h"
#include "core/migrate/vm.h"
#include "qmp/capability.h"
#include "qmp/client.h"

struct qmp_settings {
    qmp_capability_set which, on;   /* the capabilities, and which of them are to be on */
    struct json_object *parameters; /* as migrate-set-parameters takes them; NULL: none */
};

/*
 * Understands s->set for one side, whose `role` is "source" or "destination", and which calls
 * itself `hypervisor` ("QEMU 10.0.2"). ERR_REFUSED, naming the setting: this QEMU has no such
 * name, the value is of another kind, it contradicts the rest of *s, or godwit's word about
 * where the guest is would not hold with it. Without s->set nothing is asked. Touches nothing.
 */
int qmp_settings_read(struct qmp_client *c, const struct vm_settings *s, const char *role,
                      const char *hypervisor, struct qmp_settings *set, struct err *e);
void qmp_settings_clear(struct qmp_settings *set);
#define CLEANUP_SETTINGS CLEANUP(qmp_settings_clear)

/* *old: what the parameters of *set are now, for migrate-set-parameters, out of what
 * query-migrate-parameters has answered; NULL: there are none. ERR_REFUSED: one is not in it, and so
 * could not be put back. json_object_put() it. */
int qmp_settings_remember(const struct qmp_settings *set, struct json_object *now,
                          struct json_object **old, struct err *e);

/* "on", "true", "off", "false"; false: it is none of them. */
bool qmp_setting_flag(const char *value, bool *on);

/* Digits alone, or a size with a unit; false: it is neither. */
bool qmp_setting_number(const char *value, uint64_t *n);

#endif
