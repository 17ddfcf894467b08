/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON: what we write for people and their programs ("schema": 1, one object a result, one line an
 * event), what we read back, and what others say. json-c is used here; elsewhere only where qmp/ speaks
 * the wire of QMP (tests/arrows has those files).
 *
 * Nodes below the top are lent: they belong to the object that they were made in.
 *
 * What was written can be read back. A place is a value together with the way to it, so that an
 * error names it: "trials[3].total_ms: not a number". json_find_*() ask for one value by a dotted path,
 * and name that.
 */
#ifndef CORE_JSON_H
#define CORE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "core/cleanup.h"
#include "core/err.h"

struct json;

/* A top-level object with its "schema". Ends with json_print() or json_line(), which free it, or with
 * json_close(). */
struct json *json_new(void);

struct json *json_node(struct json *o, const char *key); /* a new object under `key` */
struct json *json_list(struct json *o, const char *key); /* a new list under `key` */
struct json *json_item(struct json *list);               /* a new object at its end */

void json_text(struct json *o, const char *key, const char *value); /* NULL: null */
void json_flag(struct json *o, const char *key, bool value);
void json_u64(struct json *o, const char *key, uint64_t value);
void json_i64(struct json *o, const char *key, int64_t value);
/* A length of time, in milliseconds or seconds; below zero it is not known: null. */
void json_ms(struct json *o, const char *key, int64_t ns);
void json_s(struct json *o, const char *key, int64_t ns);
/* A moment or length that may be below zero, in ms; JSON_NEVER is not known: null. */
#define JSON_NEVER INT64_MIN
void json_signed_ms(struct json *o, const char *key, int64_t ns);
/* A measure that is neither; NAN is not known: null. */
void json_number(struct json *o, const char *key, double value);
/* "error": {class, message, hint}, when there is one. */
void json_error(struct json *o, const struct err *e);

/*
 * Many rows of the same few values, without their names in each: {"columns": […], "rows": [[…], …]}.
 * The columns' names end with a NULL. Returns the rows. They are printed one a line.
 */
struct json *json_table(struct json *o, const char *key, const char *const *columns);
struct json *json_row(struct json *rows);            /* a new one at the end */
void json_row_ms(struct json *row, int64_t ns);      /* JSON_NEVER: null */
void json_row_u64(struct json *row, uint64_t value); /* UINT64_MAX: null */
void json_row_text(struct json *row, const char *value);

/* For people. A fault of the stream's stays there, for ferror(). */
void json_print(struct json *o, FILE *to);

/* The same text, lent by `o` until it is asked again or ends; NULL: no memory. */
const char *json_pretty(struct json *o);
const char *json_compact(struct json *o); /* on one line, without its end */

/* For a program that follows: one write a line, so that it never sees half of one. A reader that
 * has gone, or does not keep up, must not hold up the work: its lines are dropped (SIGPIPE must be
 * ignored). */
void json_line(struct json *o, int fd);

/* ---- reading ---- */

/* Reads a file with one object; ERR_REFUSED when it cannot, or it is none. Ends with json_close(). */
struct json *json_open(const char *path, struct err *e);
/* The same of what is open already, and of a text: NULL when it is no object, or not whole. */
struct json *json_from_fd(int fd);
struct json *json_from_text(const char *text);
void json_close(struct json *o); /* also NULL */

static inline void json_close_ptr(struct json **o)
{
    json_close(*o);
}

#define CLEANUP_JSON CLEANUP(json_close_ptr)

struct json_place {
    struct json *value;          /* NULL: null, or not there */
    const struct json_place *in; /* NULL: the top. It must live as long as this */
    const char *key;             /* NULL: in a list, number `index` */
    size_t index;
};

struct json_place json_top(struct json *o);

/*
 * What is found under `key`, or at `index`. Wrong types are ERR_REFUSED, and what is not there is a
 * null. All that is below asks nothing and returns its null when *e is set already: so a reader asks
 * for all it wants, and looks at *e once.
 */
struct json_place json_get(const struct json_place *in, const char *key, struct err *e);
struct json_place json_get_nth(const struct json_place *list, size_t index, struct err *e);
size_t json_get_length(const struct json_place *list, struct err *e); /* of null: 0 */

/* Of the value itself. Null is NULL, false, UINT64_MAX, NAN, JSON_NEVER; text is lent. */
const char *json_read_text(const struct json_place *p, struct err *e);
uint64_t json_read_u64(const struct json_place *p, struct err *e);
int64_t json_read_ms(const struct json_place *p, struct err *e); /* in ns */

/* The same of what `in` has under `key`. */
const char *json_get_text(const struct json_place *in, const char *key, struct err *e);
bool json_get_flag(const struct json_place *in, const char *key, struct err *e);
uint64_t json_get_u64(const struct json_place *in, const char *key, struct err *e);
double json_get_number(const struct json_place *in, const char *key, struct err *e);
int64_t json_get_ms(const struct json_place *in, const char *key, struct err *e);

/* Where null is no answer: ERR_REFUSED. A text that is too long for its place is, too. */
uint64_t json_need_u64(const struct json_place *in, const char *key, struct err *e);
void json_need_text(const struct json_place *in, const char *key, char *text, size_t size,
                    struct err *e);

/* ---- by path ---- */

/* What stands at a dotted path ("ram.transferred") below `o`, lent; NULL: any part of it is missing, or
 * it is null. */
struct json *json_find(struct json *o, const char *path);
bool json_is_object(struct json *value); /* NULL is none */

/*
 * The value there; what is missing or of another type is ERR_PROTO, and the error names the path. The
 * _opt ones leave *value alone when it is missing. Text is lent.
 */
int json_find_u64(struct json *o, const char *path, uint64_t *value, struct err *e);
int json_find_u64_opt(struct json *o, const char *path, uint64_t *value, struct err *e);
int json_find_i64(struct json *o, const char *path, int64_t *value, struct err *e);
int json_find_double_opt(struct json *o, const char *path, double *value, struct err *e);
int json_find_flag(struct json *o, const char *path, bool *value, struct err *e);
int json_find_text(struct json *o, const char *path, const char **value, struct err *e);
int json_find_text_opt(struct json *o, const char *path, const char **value, struct err *e);
/* The first key of an object that is not among `known`, NULL-terminated; lent. NULL: none. */
const char *json_unknown_key(struct json *o, const char *const *known);
/* The list there, lent, with its length. */
int json_find_list(struct json *o, const char *path, struct json **list, size_t *n, struct err *e);
struct json *json_nth(struct json *list, size_t index); /* lent */

#endif
