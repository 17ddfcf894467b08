/* SPDX-License-Identifier: Apache-2.0 */
/* Source of the shapes: QEMU, qapi/introspect.json. */
#include "schema_check.h"

#include <stdio.h>
#include <string.h>

struct check {
    struct json_object *schema;
    char *why;
    size_t size;
};

static const char *text(struct json_object *o, const char *name)
{
    struct json_object *f;
    return json_object_object_get_ex(o, name, &f) ? json_object_get_string(f) : "";
}

static struct json_object *list(struct json_object *o, const char *name)
{
    struct json_object *f;
    return json_object_object_get_ex(o, name, &f) ? f : NULL;
}

static size_t length(struct json_object *o)
{
    return o == NULL ? 0 : json_object_array_length(o);
}

static struct json_object *entry(const struct check *c, const char *name)
{
    for (size_t i = 0; i < json_object_array_length(c->schema); i++) {
        struct json_object *e = json_object_array_get_idx(c->schema, i);
        if (strcmp(text(e, "name"), name) == 0)
            return e;
    }
    return NULL;
}

static bool wrong(const struct check *c, const char *path, const char *what)
{
    snprintf(c->why, c->size, "%s: %s", path, what);
    return false;
}

static bool check_value(const struct check *c, const char *path, const char *type,
                        struct json_object *v);

static bool check_builtin(const struct check *c, const char *path, const char *json_type,
                          struct json_object *v)
{
    static const struct {
        const char *name;
        enum json_type type;
    } types[] = {
        {"string", json_type_string}, {"int", json_type_int},     {"boolean", json_type_boolean},
        {"null", json_type_null},     {"array", json_type_array}, {"object", json_type_object},
    };
    enum json_type have = json_object_get_type(v);
    if (strcmp(json_type, "value") == 0)
        return true;
    if (strcmp(json_type, "number") == 0)
        return have == json_type_int || have == json_type_double || wrong(c, path, "not a number");
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].name, json_type) == 0)
            return have == types[i].type || wrong(c, path, "of the wrong type");
    return wrong(c, path, "a json-type that this check does not know");
}

static bool check_enum(const struct check *c, const char *path, struct json_object *type,
                       struct json_object *v)
{
    struct json_object *values = list(type, "values");
    if (!json_object_is_type(v, json_type_string))
        return wrong(c, path, "not a string");
    for (size_t i = 0; i < length(values); i++)
        if (strcmp(json_object_get_string(json_object_array_get_idx(values, i)),
                   json_object_get_string(v)) == 0)
            return true;
    return wrong(c, path, "not a value of this enum");
}

/* The object type that a union's tag adds; NULL if none. */
static struct json_object *variant(const struct check *c, struct json_object *type,
                                   struct json_object *v)
{
    struct json_object *variants = list(type, "variants");
    const char *tag = variants == NULL ? "" : text(v, text(type, "tag"));
    for (size_t i = 0; i < length(variants); i++) {
        struct json_object *one = json_object_array_get_idx(variants, i);
        if (strcmp(text(one, "case"), tag) == 0)
            return entry(c, text(one, "type"));
    }
    return NULL;
}

static struct json_object *member(struct json_object *type, const char *name)
{
    struct json_object *members = type == NULL ? NULL : list(type, "members");
    for (size_t i = 0; i < length(members); i++) {
        struct json_object *m = json_object_array_get_idx(members, i);
        if (strcmp(text(m, "name"), name) == 0)
            return m;
    }
    return NULL;
}

static bool check_mandatory(const struct check *c, const char *path, struct json_object *type,
                            struct json_object *v)
{
    struct json_object *members = type == NULL ? NULL : list(type, "members"), *ignored;
    char at[256];
    for (size_t i = 0; i < length(members); i++) {
        struct json_object *m = json_object_array_get_idx(members, i);
        bool optional = json_object_object_get_ex(m, "default", &ignored);
        snprintf(at, sizeof at, "%s.%s", path, text(m, "name"));
        if (!optional && !json_object_object_get_ex(v, text(m, "name"), &ignored))
            return wrong(c, at, "missing");
    }
    return true;
}

static bool check_object(const struct check *c, const char *path, struct json_object *type,
                         struct json_object *v)
{
    char at[256];
    if (!json_object_is_type(v, json_type_object))
        return wrong(c, path, "not an object");
    struct json_object *more = variant(c, type, v);
    if (!check_mandatory(c, path, type, v) || !check_mandatory(c, path, more, v))
        return false;
    json_object_object_foreach(v, name, value)
    {
        struct json_object *m = member(type, name);
        if (m == NULL)
            m = member(more, name);
        snprintf(at, sizeof at, "%s.%s", path, name);
        if (m == NULL)
            return wrong(c, at, "unknown");
        if (!check_value(c, at, text(m, "type"), value))
            return false;
    }
    return true;
}

static bool check_array(const struct check *c, const char *path, struct json_object *type,
                        struct json_object *v)
{
    char at[256];
    if (!json_object_is_type(v, json_type_array))
        return wrong(c, path, "not an array");
    for (size_t i = 0; i < json_object_array_length(v); i++) {
        snprintf(at, sizeof at, "%s[%zu]", path, i);
        if (!check_value(c, at, text(type, "element-type"), json_object_array_get_idx(v, i)))
            return false;
    }
    return true;
}

static bool check_alternate(const struct check *c, const char *path, struct json_object *type,
                            struct json_object *v)
{
    struct json_object *members = list(type, "members");
    for (size_t i = 0; i < length(members); i++)
        if (check_value(c, path, text(json_object_array_get_idx(members, i), "type"), v))
            return true;
    return false;
}

static bool check_value(const struct check *c, const char *path, const char *type,
                        struct json_object *v)
{
    struct json_object *t = entry(c, type);
    const char *meta = t == NULL ? "" : text(t, "meta-type");
    if (strcmp(meta, "builtin") == 0)
        return check_builtin(c, path, text(t, "json-type"), v);
    if (strcmp(meta, "enum") == 0)
        return check_enum(c, path, t, v);
    if (strcmp(meta, "object") == 0)
        return check_object(c, path, t, v);
    if (strcmp(meta, "array") == 0)
        return check_array(c, path, t, v);
    if (strcmp(meta, "alternate") == 0)
        return check_alternate(c, path, t, v);
    return wrong(c, path, "a type that was not recorded: run record-schema");
}

static struct json_object *find_command(const struct check *c, const char *command)
{
    struct json_object *e = entry(c, command);
    if (e == NULL || strcmp(text(e, "meta-type"), "command") != 0) {
        wrong(c, command, "no such command in the recorded schema");
        return NULL;
    }
    return e;
}

bool schema_check_command(struct json_object *schema, const char *command, struct json_object *args,
                          char *why, size_t size)
{
    const struct check c = {schema, why, size};
    struct json_object *e = find_command(&c, command);
    if (e == NULL)
        return false;
    struct json_object *given = args != NULL ? json_object_get(args) : json_object_new_object();
    bool ok = check_value(&c, command, text(e, "arg-type"), given);
    json_object_put(given);
    return ok;
}

bool schema_check_return(struct json_object *schema, const char *command, struct json_object *value,
                         char *why, size_t size)
{
    const struct check c = {schema, why, size};
    struct json_object *e = find_command(&c, command);
    return e != NULL && check_value(&c, command, text(e, "ret-type"), value);
}
