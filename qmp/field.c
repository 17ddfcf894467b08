/* SPDX-License-Identifier: Apache-2.0 */
#include "qmp/field.h"

#include <string.h>

struct json_object *field_peek(struct json_object *obj, const char *path)
{
    char name[64];
    for (;;) {
        size_t len = strcspn(path, ".");
        struct json_object *next;
        if (len >= sizeof name || !json_object_is_type(obj, json_type_object))
            return NULL;
        memcpy(name, path, len);
        name[len] = '\0';
        if (!json_object_object_get_ex(obj, name, &next))
            return NULL;
        if (path[len] == '\0')
            return next;
        obj = next;
        path += len + 1;
    }
}

/* A double outside of the range must not be converted: that is undefined. NaN becomes 0. */
static uint64_t field_from_double(double value)
{
    if (value >= 18446744073709551616.0)
        return UINT64_MAX;
    return value > 0 ? (uint64_t)value : 0;
}

int field_u64_opt(struct json_object *obj, const char *path, uint64_t *value, struct err *e)
{
    struct json_object *f = field_peek(obj, path);
    if (f == NULL)
        return 0;
    /* QEMU has counters that are below zero for "unknown", and some that come as doubles */
    if (json_object_is_type(f, json_type_double))
        *value = field_from_double(json_object_get_double(f));
    else if (json_object_is_type(f, json_type_int))
        *value = json_object_get_uint64(f);
    else
        return err_set(e, ERR_PROTO, 0, "%s: not an integer", path);
    return 0;
}

int field_u64(struct json_object *obj, const char *path, uint64_t *value, struct err *e)
{
    if (field_peek(obj, path) == NULL)
        return err_set(e, ERR_PROTO, 0, "%s: missing", path);
    return field_u64_opt(obj, path, value, e);
}

int field_double_opt(struct json_object *obj, const char *path, double *value, struct err *e)
{
    struct json_object *f = field_peek(obj, path);
    if (f == NULL)
        return 0;
    if (!json_object_is_type(f, json_type_double) && !json_object_is_type(f, json_type_int))
        return err_set(e, ERR_PROTO, 0, "%s: not a number", path);
    *value = json_object_get_double(f);
    return 0;
}

int field_bool(struct json_object *obj, const char *path, bool *value, struct err *e)
{
    struct json_object *f = field_peek(obj, path);
    if (!json_object_is_type(f, json_type_boolean))
        return err_set(e, ERR_PROTO, 0, "%s: %s", path, f == NULL ? "missing" : "not a boolean");
    *value = json_object_get_boolean(f);
    return 0;
}

int field_text_opt(struct json_object *obj, const char *path, const char **value, struct err *e)
{
    struct json_object *f = field_peek(obj, path);
    if (f == NULL)
        return 0;
    if (!json_object_is_type(f, json_type_string))
        return err_set(e, ERR_PROTO, 0, "%s: not a string", path);
    *value = json_object_get_string(f);
    return 0;
}

int field_text(struct json_object *obj, const char *path, const char **value, struct err *e)
{
    if (field_peek(obj, path) == NULL)
        return err_set(e, ERR_PROTO, 0, "%s: missing", path);
    return field_text_opt(obj, path, value, e);
}
