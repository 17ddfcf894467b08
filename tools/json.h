/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON for people and their programs: "schema": 1, one object a result, one line an event. The only
 * place outside qmp/ that knows json-c.
 *
 * Nodes below the top are lent: they belong to the object that they were made in.
 */
#ifndef TOOLS_JSON_H
#define TOOLS_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "core/err.h"

struct json;

/* A top-level object with its "schema". Ends with json_print() or json_line(), which free it. */
struct json *json_new(void);

struct json *json_node(struct json *o, const char *key); /* a new object under `key` */
struct json *json_list(struct json *o, const char *key);   /* a new list under `key` */
struct json *json_item(struct json *list);                 /* a new object at its end */

void json_text(struct json *o, const char *key, const char *value); /* NULL: null */
void json_flag(struct json *o, const char *key, bool value);
void json_u64(struct json *o, const char *key, uint64_t value);
/* A length of time, in milliseconds or seconds; below zero it is not known: null. */
void json_ms(struct json *o, const char *key, int64_t ns);
void json_s(struct json *o, const char *key, int64_t ns);
/* A measure that is neither; NAN is not known: null. */
void json_number(struct json *o, const char *key, double value);
/* "error": {class, message, hint}, when there is one. */
void json_error(struct json *o, const struct err *e);

/* For reading. */
void json_print(struct json *o, FILE *to);

/* For a program that follows: one write a line, so that it never sees half of one. A reader that
 * has gone, or does not keep up, must not hold up the work: its lines are dropped (SIGPIPE must be
 * ignored). */
void json_line(struct json *o, int fd);

#endif
