/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks a QMP command against a recorded query-qmp-schema (record-schema): an unknown command or
 * argument, a missing one and a value of the wrong type are found as QEMU would find them.
 */
#ifndef TESTS_QMP_SCHEMA_CHECK_H
#define TESTS_QMP_SCHEMA_CHECK_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

/* `schema` is the array; `args` may be NULL. False: `why` names the path and the fault. */
bool schema_check_command(struct json_object *schema, const char *command, struct json_object *args,
                          char *why, size_t size);

/* The same for what a fake answers, so that it says only what a QEMU could say. */
bool schema_check_return(struct json_object *schema, const char *command, struct json_object *value,
                         char *why, size_t size);

#endif
