/* SPDX-License-Identifier: Apache-2.0 */
#include "core/json.h"

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <json-c/printbuf.h>
#include <math.h>
#include <poll.h>
#include <string.h>

#include "core/cleanup.h"

/* A struct json is json-c's object under a name of ours; it is never defined. */
static struct json_object *json_c(struct json *o)
{
    return (struct json_object *)o;
}

static struct json *json_add(struct json *o, const char *key, struct json_object *value)
{
    json_object_object_add(json_c(o), key, value);
    return (struct json *)value;
}

struct json *json_new(void)
{
    struct json *o = (struct json *)json_object_new_object();
    json_add(o, "schema", json_object_new_int(1));
    return o;
}

struct json *json_node(struct json *o, const char *key)
{
    return json_add(o, key, json_object_new_object());
}

struct json *json_list(struct json *o, const char *key)
{
    return json_add(o, key, json_object_new_array());
}

struct json *json_item(struct json *list)
{
    struct json_object *o = json_object_new_object();
    json_object_array_add(json_c(list), o);
    return (struct json *)o;
}

void json_text(struct json *o, const char *key, const char *value)
{
    json_add(o, key, value != NULL ? json_object_new_string(value) : NULL);
}

void json_flag(struct json *o, const char *key, bool value)
{
    json_add(o, key, json_object_new_boolean(value));
}

void json_u64(struct json *o, const char *key, uint64_t value)
{
    json_add(o, key, json_object_new_uint64(value));
}

void json_i64(struct json *o, const char *key, int64_t value)
{
    json_add(o, key, json_object_new_int64(value));
}

/* Three decimals: json-c alone would print 17 digits. */
static struct json_object *json_new_decimal(double value)
{
    char text[40];
    snprintf(text, sizeof text, "%.3f", value);
    return json_object_new_double_s(value, text);
}

static void json_decimal(struct json *o, const char *key, double value)
{
    json_add(o, key, json_new_decimal(value));
}

void json_ms(struct json *o, const char *key, int64_t ns)
{
    if (ns < 0)
        json_add(o, key, NULL);
    else
        json_decimal(o, key, (double)ns / 1e6);
}

void json_s(struct json *o, const char *key, int64_t ns)
{
    if (ns < 0)
        json_add(o, key, NULL);
    else
        json_decimal(o, key, (double)ns / 1e9);
}

static struct json_object *json_new_ms(int64_t ns)
{
    return ns == JSON_NEVER ? NULL : json_new_decimal((double)ns / 1e6);
}

void json_signed_ms(struct json *o, const char *key, int64_t ns)
{
    json_add(o, key, json_new_ms(ns));
}

void json_number(struct json *o, const char *key, double value)
{
    if (isnan(value))
        json_add(o, key, NULL);
    else
        json_decimal(o, key, value);
}

void json_error(struct json *o, const struct err *e)
{
    if (e->class == ERR_NONE)
        return;
    struct json *error = json_node(o, "error");
    json_text(error, "class", err_class_name(e->class));
    json_text(error, "message", e->msg);
    json_text(error, "hint", e->hint != NULL ? e->hint : "");
}

/* ---- tables ---- */

/* json-c's own pretty form has a line for each number. */
static int json_rows_print(struct json_object *rows, struct printbuf *to, int level, int flags)
{
    (void)level;
    (void)flags;
    size_t n = json_object_array_length(rows);
    sprintbuf(to, "[");
    for (size_t i = 0; i < n; i++) {
        struct json_object *row = json_object_array_get_idx(rows, i);
        const char *text = json_object_to_json_string_ext(row, JSON_C_TO_STRING_PLAIN |
                                                                   JSON_C_TO_STRING_NOSLASHESCAPE);
        sprintbuf(to, "%s\n", i > 0 ? "," : "");
        printbuf_memappend(to, text, (int)strlen(text));
    }
    return sprintbuf(to, "]");
}

struct json *json_table(struct json *o, const char *key, const char *const *columns)
{
    struct json *table = json_node(o, key);
    struct json *names = json_list(table, "columns");
    for (; *columns != NULL; columns++)
        json_row_text(names, *columns);
    struct json *rows = json_list(table, "rows");
    json_object_set_serializer(json_c(rows), json_rows_print, NULL, NULL);
    return rows;
}

struct json *json_row(struct json *rows)
{
    struct json_object *row = json_object_new_array();
    json_object_array_add(json_c(rows), row);
    return (struct json *)row;
}

void json_row_ms(struct json *row, int64_t ns)
{
    json_object_array_add(json_c(row), json_new_ms(ns));
}

void json_row_u64(struct json *row, uint64_t value)
{
    json_object_array_add(json_c(row), value == UINT64_MAX ? NULL : json_object_new_uint64(value));
}

void json_row_text(struct json *row, const char *value)
{
    json_object_array_add(json_c(row), json_object_new_string(value));
}

/* ---- printing ---- */

const char *json_pretty(struct json *o)
{
    int flags = JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_NOSLASHESCAPE;
    return json_object_to_json_string_ext(json_c(o), flags);
}

const char *json_compact(struct json *o)
{
    return json_object_to_json_string_ext(json_c(o),
                                          JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
}

void json_print(struct json *o, FILE *to)
{
    fprintf(to, "%s\n", json_pretty(o));
    fflush(to);
    json_object_put(json_c(o));
}

void json_line(struct json *o, int fd)
{
    int flags = JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE;
    /* a pipe has room for a whole line, or none */
    struct pollfd room = {.fd = fd, .events = POLLOUT};
    if (poll(&room, 1, 0) > 0 && (room.revents & POLLOUT))
        dprintf(fd, "%s\n", json_object_to_json_string_ext(json_c(o), flags));
    json_object_put(json_c(o));
}

/* ---- reading ---- */

/* Takes it. */
static struct json *json_if_object(struct json_object *o)
{
    if (json_object_is_type(o, json_type_object))
        return (struct json *)o;
    json_object_put(o);
    return NULL;
}

struct json *json_from_fd(int fd)
{
    return json_if_object(json_object_from_fd(fd));
}

/* json_tokener_parse() would not mind what comes after the object. */
struct json *json_from_text(const char *text)
{
    struct json_tokener *tokener = json_tokener_new();
    if (tokener == NULL)
        return NULL;
    struct json_object *o = json_tokener_parse_ex(tokener, text, -1);
    size_t read = json_tokener_get_parse_end(tokener), length = strlen(text);
    const char *rest = text + (read < length ? read : length); /* it may have read the NUL */
    json_tokener_free(tokener);
    if (rest[strspn(rest, " \t\r\n")] == '\0')
        return json_if_object(o);
    json_object_put(o);
    return NULL;
}

const char *json_unknown_key(struct json *o, const char *const *known)
{
    json_object_object_foreach(json_c(o), key, value)
    {
        size_t i = 0;
        (void)value;
        while (known[i] != NULL && strcmp(known[i], key) != 0)
            i++;
        if (known[i] == NULL)
            return key;
    }
    return NULL;
}

struct json *json_open(const char *path, struct err *e)
{
    CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        err_set(e, ERR_REFUSED, errno, "%s: cannot be read", path);
        return NULL;
    }
    struct json *o = json_from_fd(fd);
    if (o == NULL)
        err_set(e, ERR_REFUSED, 0, "%s: is no JSON object", path);
    return o;
}

void json_close(struct json *o)
{
    json_object_put(json_c(o));
}

struct json_place json_top(struct json *o)
{
    return (struct json_place){.value = o};
}

/* Writes the way to `p`; returns its length. */
static size_t json_path(const struct json_place *p, char *text, size_t size)
{
    if (p->in == NULL) {
        snprintf(text, size, "the top");
        return 0;
    }
    size_t n = json_path(p->in, text, size);
    if (n >= size)
        return n;
    if (p->key == NULL)
        return n + (size_t)snprintf(text + n, size - n, "[%zu]", p->index);
    return n + (size_t)snprintf(text + n, size - n, "%s%s", n > 0 ? "." : "", p->key);
}

static void json_fault(const struct json_place *p, const char *fault, struct err *e)
{
    char path[160];
    json_path(p, path, sizeof path);
    err_set(e, ERR_REFUSED, 0, "%s: %s", path, fault);
}

/* Whether there is a value to be asked for. */
static bool json_has(const struct json_place *p, enum json_type type, const char *fault,
                     struct err *e)
{
    if (e->class != ERR_NONE || p->value == NULL)
        return false;
    if (json_object_is_type(json_c(p->value), type))
        return true;
    json_fault(p, fault, e);
    return false;
}

struct json_place json_get(const struct json_place *in, const char *key, struct err *e)
{
    struct json_place p = {.in = in, .key = key};
    struct json_object *value = NULL;
    if (json_has(in, json_type_object, "not an object", e))
        json_object_object_get_ex(json_c(in->value), key, &value);
    p.value = (struct json *)value;
    return p;
}

size_t json_get_length(const struct json_place *list, struct err *e)
{
    if (!json_has(list, json_type_array, "not a list", e))
        return 0;
    return json_object_array_length(json_c(list->value));
}

struct json_place json_get_nth(const struct json_place *list, size_t index, struct err *e)
{
    struct json_place p = {.in = list, .index = index};
    if (index < json_get_length(list, e))
        p.value = (struct json *)json_object_array_get_idx(json_c(list->value), index);
    return p;
}

const char *json_read_text(const struct json_place *p, struct err *e)
{
    if (!json_has(p, json_type_string, "not a text", e))
        return NULL;
    return json_object_get_string(json_c(p->value));
}

static bool json_read_flag(const struct json_place *p, struct err *e)
{
    return json_has(p, json_type_boolean, "not true or false", e) &&
           json_object_get_boolean(json_c(p->value));
}

uint64_t json_read_u64(const struct json_place *p, struct err *e)
{
    if (!json_has(p, json_type_int, "not a whole number", e))
        return UINT64_MAX;
    if (json_object_get_int64(json_c(p->value)) < 0) {
        json_fault(p, "below zero", e);
        return UINT64_MAX;
    }
    return json_object_get_uint64(json_c(p->value));
}

static double json_read_number(const struct json_place *p, struct err *e)
{
    if (e->class != ERR_NONE || p->value == NULL)
        return NAN;
    if (json_object_is_type(json_c(p->value), json_type_int) ||
        json_object_is_type(json_c(p->value), json_type_double))
        return json_object_get_double(json_c(p->value));
    json_fault(p, "not a number", e);
    return NAN;
}

int64_t json_read_ms(const struct json_place *p, struct err *e)
{
    double ms = json_read_number(p, e);
    if (isnan(ms))
        return JSON_NEVER;
    if (fabs(ms) < 9e12)                 /* in ns it must fit in 63 bits */
        return llround(ms * 1e3) * 1000; /* three decimals were written */
    json_fault(p, "not a time", e);
    return JSON_NEVER;
}

#define JSON_GET(type, name)                                                          \
    type json_get_##name(const struct json_place *in, const char *key, struct err *e) \
    {                                                                                 \
        struct json_place p = json_get(in, key, e);                                   \
        return json_read_##name(&p, e);                                               \
    }

JSON_GET(const char *, text)
JSON_GET(bool, flag)
JSON_GET(uint64_t, u64)
JSON_GET(double, number)
JSON_GET(int64_t, ms)

uint64_t json_need_u64(const struct json_place *in, const char *key, struct err *e)
{
    struct json_place p = json_get(in, key, e);
    uint64_t value = json_read_u64(&p, e);
    if (p.value == NULL && e->class == ERR_NONE)
        json_fault(&p, "is missing", e);
    return value;
}

void json_need_text(const struct json_place *in, const char *key, char *text, size_t size,
                    struct err *e)
{
    struct json_place p = json_get(in, key, e);
    const char *value = json_read_text(&p, e);
    if (e->class != ERR_NONE)
        return;
    if (value == NULL)
        json_fault(&p, "is missing", e);
    else if (strlen(value) >= size)
        json_fault(&p, "is too long", e);
    else
        memcpy(text, value, strlen(value) + 1);
}

/* ---- by path ---- */

static struct json_object *json_peek(struct json_object *obj, const char *path)
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

struct json *json_find(struct json *o, const char *path)
{
    return (struct json *)json_peek(json_c(o), path);
}

bool json_is_object(struct json *value)
{
    return json_object_is_type(json_c(value), json_type_object);
}

/* A double outside of the range must not be converted: that is undefined. NaN becomes 0. */
static uint64_t json_from_double(double value)
{
    if (value >= 18446744073709551616.0)
        return UINT64_MAX;
    return value > 0 ? (uint64_t)value : 0;
}

int json_find_u64_opt(struct json *o, const char *path, uint64_t *value, struct err *e)
{
    struct json_object *f = json_peek(json_c(o), path);
    if (f == NULL)
        return 0;
    /* QEMU has counters that are below zero for "unknown", and some that come as doubles */
    if (json_object_is_type(f, json_type_double))
        *value = json_from_double(json_object_get_double(f));
    else if (json_object_is_type(f, json_type_int))
        *value = json_object_get_uint64(f);
    else
        return err_set(e, ERR_PROTO, 0, "%s: not an integer", path);
    return 0;
}

int json_find_u64(struct json *o, const char *path, uint64_t *value, struct err *e)
{
    if (json_peek(json_c(o), path) == NULL)
        return err_set(e, ERR_PROTO, 0, "%s: missing", path);
    return json_find_u64_opt(o, path, value, e);
}

int json_find_double_opt(struct json *o, const char *path, double *value, struct err *e)
{
    struct json_object *f = json_peek(json_c(o), path);
    if (f == NULL)
        return 0;
    if (!json_object_is_type(f, json_type_double) && !json_object_is_type(f, json_type_int))
        return err_set(e, ERR_PROTO, 0, "%s: not a number", path);
    *value = json_object_get_double(f);
    return 0;
}

int json_find_flag(struct json *o, const char *path, bool *value, struct err *e)
{
    struct json_object *f = json_peek(json_c(o), path);
    if (!json_object_is_type(f, json_type_boolean))
        return err_set(e, ERR_PROTO, 0, "%s: %s", path, f == NULL ? "missing" : "not a boolean");
    *value = json_object_get_boolean(f);
    return 0;
}

int json_find_text_opt(struct json *o, const char *path, const char **value, struct err *e)
{
    struct json_object *f = json_peek(json_c(o), path);
    if (f == NULL)
        return 0;
    if (!json_object_is_type(f, json_type_string))
        return err_set(e, ERR_PROTO, 0, "%s: not a string", path);
    *value = json_object_get_string(f);
    return 0;
}

int json_find_text(struct json *o, const char *path, const char **value, struct err *e)
{
    if (json_peek(json_c(o), path) == NULL)
        return err_set(e, ERR_PROTO, 0, "%s: missing", path);
    return json_find_text_opt(o, path, value, e);
}

int json_find_i64(struct json *o, const char *path, int64_t *value, struct err *e)
{
    struct json_object *f = json_peek(json_c(o), path);
    if (!json_object_is_type(f, json_type_int))
        return err_set(e, ERR_PROTO, 0, "%s: %s", path, f == NULL ? "missing" : "not an integer");
    *value = json_object_get_int64(f);
    return 0;
}

int json_find_list(struct json *o, const char *path, struct json **list, size_t *n, struct err *e)
{
    struct json_object *f = json_peek(json_c(o), path);
    if (!json_object_is_type(f, json_type_array))
        return err_set(e, ERR_PROTO, 0, "%s: not a list", path);
    *list = (struct json *)f;
    *n = json_object_array_length(f);
    return 0;
}

struct json *json_nth(struct json *list, size_t index)
{
    return (struct json *)json_object_array_get_idx(json_c(list), index);
}
