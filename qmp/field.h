/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading QEMU's answers by path: core/json.h's json_find_*(), of what the QMP client returns. The
 * contracts are there.
 */
#ifndef QMP_FIELD_H
#define QMP_FIELD_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"
#include "core/json.h"

static inline struct json_object *field_peek(struct json_object *o, const char *path)
{
    return (struct json_object *)json_find((struct json *)o, path);
}

static inline int field_u64(struct json_object *o, const char *path, uint64_t *value, struct err *e)
{
    return json_find_u64((struct json *)o, path, value, e);
}

static inline int field_u64_opt(struct json_object *o, const char *path, uint64_t *value,
                                struct err *e)
{
    return json_find_u64_opt((struct json *)o, path, value, e);
}

static inline int field_double_opt(struct json_object *o, const char *path, double *value,
                                   struct err *e)
{
    return json_find_double_opt((struct json *)o, path, value, e);
}

static inline int field_bool(struct json_object *o, const char *path, bool *value, struct err *e)
{
    return json_find_flag((struct json *)o, path, value, e);
}

static inline int field_text(struct json_object *o, const char *path, const char **value,
                             struct err *e)
{
    return json_find_text((struct json *)o, path, value, e);
}

static inline int field_text_opt(struct json_object *o, const char *path, const char **value,
                                 struct err *e)
{
    return json_find_text_opt((struct json *)o, path, value, e);
}

#endif
