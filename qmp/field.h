/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading QEMU's answers: each getter takes a dotted path ("ram.transferred") and reports it when
 * the field is missing or of another type (ERR_PROTO). The _opt ones treat missing as "leave
 * alone".
 */
#ifndef QMP_FIELD_H
#define QMP_FIELD_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"

/* NULL where any part of the path is missing. Lent. */
struct json_object *field_peek(struct json_object *obj, const char *path);

int field_u64(struct json_object *obj, const char *path, uint64_t *value, struct err *e);
int field_u64_opt(struct json_object *obj, const char *path, uint64_t *value, struct err *e);
int field_double_opt(struct json_object *obj, const char *path, double *value, struct err *e);
int field_bool(struct json_object *obj, const char *path, bool *value, struct err *e);
/* Lent. */
int field_text(struct json_object *obj, const char *path, const char **value, struct err *e);
int field_text_opt(struct json_object *obj, const char *path, const char **value, struct err *e);

#endif
