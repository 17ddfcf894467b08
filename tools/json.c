/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/json.h"

#include <json-c/json.h>
#include <math.h>
#include <poll.h>

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

/* Three decimals: json-c alone would print 17 digits. */
static void json_decimal(struct json *o, const char *key, double value)
{
    char text[40];
    snprintf(text, sizeof text, "%.3f", value);
    json_add(o, key, json_object_new_double_s(value, text));
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
    json_text(error, "hint", e->hint);
}

void json_print(struct json *o, FILE *to)
{
    int flags = JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_NOSLASHESCAPE;
    fprintf(to, "%s\n", json_object_to_json_string_ext(json_c(o), flags));
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
