/* SPDX-License-Identifier: Apache-2.0 */
#include "qmp/schema.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "qmp/field.h"

struct qmp_schema {
    struct json_object *answer;
    struct json_object *by_name; /* name -> entry, each with a reference of its own */
};

struct qmp_schema *qmp_schema_new(struct json_object *answer, struct err *e)
{
    if (!json_object_is_type(answer, json_type_array)) {
        err_set(e, ERR_PROTO, 0, "query-qmp-schema: not an array");
        return NULL;
    }
    CLEANUP_FREE struct qmp_schema *s = calloc(1, sizeof *s);
    if (s == NULL) {
        err_set(e, ERR_IO, ENOMEM, "no memory for the QMP schema");
        return NULL;
    }
    s->answer = json_object_get(answer);
    s->by_name = json_object_new_object();
    for (size_t i = 0; i < json_object_array_length(answer); i++) {
        struct json_object *entry = json_object_array_get_idx(answer, i);
        struct json_object *name = field_peek(entry, "name");
        if (name != NULL)
            json_object_object_add(s->by_name, json_object_get_string(name),
                                   json_object_get(entry));
    }
    return TAKE(s);
}

void qmp_schema_free(struct qmp_schema *s)
{
    if (s == NULL)
        return;
    json_object_put(s->by_name);
    json_object_put(s->answer);
    free(s);
}

static const char *schema_text(struct json_object *entry, const char *name)
{
    struct json_object *f = field_peek(entry, name);
    return f == NULL ? "" : json_object_get_string(f);
}

static struct json_object *schema_entry(const struct qmp_schema *s, const char *name)
{
    struct json_object *entry = NULL;
    json_object_object_get_ex(s->by_name, name, &entry);
    return entry;
}

/* The type of member `name` of an object type; NULL if there is none. */
static struct json_object *schema_member(const struct qmp_schema *s, struct json_object *object,
                                         const char *name, size_t len)
{
    struct json_object *members = field_peek(object, "members");
    if (!json_object_is_type(members, json_type_array))
        return NULL;
    for (size_t i = 0; i < json_object_array_length(members); i++) {
        struct json_object *m = json_object_array_get_idx(members, i);
        const char *have = schema_text(m, "name");
        if (strlen(have) == len && memcmp(have, name, len) == 0)
            return schema_entry(s, schema_text(m, "type"));
    }
    return NULL;
}

static struct json_object *schema_element(const struct qmp_schema *s, struct json_object *type)
{
    while (type != NULL && strcmp(schema_text(type, "meta-type"), "array") == 0)
        type = schema_entry(s, schema_text(type, "element-type"));
    return type;
}

/* The type at the path's end, which may be an array. */
static struct json_object *schema_at_end(const struct qmp_schema *s, const char *command,
                                         const char *path)
{
    struct json_object *type = schema_entry(s, command);
    if (strcmp(schema_text(type, "meta-type"), "command") != 0)
        return NULL;
    type = schema_entry(s, schema_text(type, "arg-type"));
    while (type != NULL && *path != '\0') {
        size_t len = strcspn(path, ".");
        type = schema_member(s, schema_element(s, type), path, len);
        path += len + (path[len] == '.');
    }
    return type;
}

static struct json_object *schema_at(const struct qmp_schema *s, const char *command,
                                     const char *path)
{
    return schema_element(s, schema_at_end(s, command, path));
}

bool qmp_schema_has_value(const struct qmp_schema *s, const char *command, const char *path,
                          const char *value)
{
    /* "values" is in every version that we meet; "members" repeats them with features since 6.2 */
    struct json_object *values = field_peek(schema_at(s, command, path), "values");
    if (!json_object_is_type(values, json_type_array))
        return false;
    for (size_t i = 0; i < json_object_array_length(values); i++) {
        struct json_object *v = json_object_array_get_idx(values, i);
        if (json_object_is_type(v, json_type_string) &&
            strcmp(json_object_get_string(v), value) == 0)
            return true;
    }
    return false;
}

static enum qmp_kind schema_kind_of(struct json_object *type)
{
    const char *meta = schema_text(type, "meta-type"), *json = schema_text(type, "json-type");
    if (strcmp(meta, "enum") == 0)
        return QMP_KIND_ENUM;
    if (strcmp(meta, "builtin") == 0)
        return strcmp(json, "int") == 0       ? QMP_KIND_INT
               : strcmp(json, "boolean") == 0 ? QMP_KIND_BOOL
               : strcmp(json, "string") == 0  ? QMP_KIND_TEXT
                                              : QMP_KIND_OTHER;
    struct json_object *members = field_peek(type, "members");
    if (strcmp(meta, "alternate") != 0 || !json_object_is_type(members, json_type_array))
        return QMP_KIND_OTHER;
    for (size_t i = 0; i < json_object_array_length(members); i++) {
        struct json_object *m = json_object_array_get_idx(members, i);
        if (strcmp(schema_text(m, "type"), "str") == 0)
            return QMP_KIND_TEXT;
    }
    return QMP_KIND_OTHER;
}

enum qmp_kind qmp_schema_kind(const struct qmp_schema *s, const char *command, const char *path)
{
    struct json_object *type = schema_at_end(s, command, path);
    return type == NULL ? QMP_KIND_NONE : schema_kind_of(type);
}

size_t qmp_schema_names(const struct qmp_schema *s, const char *command, const char *path,
                        const char **names, size_t max)
{
    struct json_object *type = schema_at(s, command, path);
    bool is_enum = strcmp(schema_text(type, "meta-type"), "enum") == 0;
    struct json_object *list = field_peek(type, is_enum ? "values" : "members");
    size_t n = 0;
    if (!json_object_is_type(list, json_type_array))
        return 0;
    for (size_t i = 0; i < json_object_array_length(list) && n < max; i++) {
        struct json_object *one = json_object_array_get_idx(list, i);
        const char *name = is_enum ? json_object_get_string(one) : schema_text(one, "name");
        if (name != NULL && *name != '\0')
            names[n++] = name;
    }
    return n;
}
