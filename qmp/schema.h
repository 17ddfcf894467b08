/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this QEMU can do, from its own query-qmp-schema and never from its version number.
 *
 * The schema is a flat list of named entries; a command refers to the entry of its arguments, which
 * refers to the entries of its members. Type names are masked numbers, so everything is reached
 * from a command. A path walks members and looks through arrays: "capabilities.capability" of
 * migrate-set-capabilities is the enum of migration capabilities.
 * Source: QEMU, qapi/introspect.json.
 */
#ifndef QMP_SCHEMA_H
#define QMP_SCHEMA_H

#include <json-c/json.h>
#include <stdbool.h>

#include "core/err.h"

struct qmp_schema;

/* What a value is, as far as it can be written in one word. */
enum qmp_kind {
    QMP_KIND_NONE, /* there is no such argument */
    QMP_KIND_INT,
    QMP_KIND_BOOL,
    QMP_KIND_TEXT, /* also where null is allowed, too */
    QMP_KIND_ENUM,
    QMP_KIND_OTHER, /* a list, an object */
};

/* `answer` is what query-qmp-schema returned; it is kept by reference. */
struct qmp_schema *qmp_schema_new(struct json_object *answer, struct err *e);
void qmp_schema_free(struct qmp_schema *s); /* NULL is fine */

bool qmp_schema_has_value(const struct qmp_schema *s, const char *command, const char *path,
                          const char *value);

enum qmp_kind qmp_schema_kind(const struct qmp_schema *s, const char *command, const char *path);

/* What there is at a path: the members of an object ("": the command's arguments), the values of an
 * enum; at most `max`. Lent by the schema. */
size_t qmp_schema_names(const struct qmp_schema *s, const char *command, const char *path,
                        const char **names, size_t max);

#endif
