/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that people write: one "key = value" a line. A line that begins with "#" is a comment, an empty one is
 * nothing. What the keys are, and which may come twice, is for those who read one.
 */
#ifndef CORE_KEY_LINES_H
#define CORE_KEY_LINES_H

#include "core/err.h"

/* Takes one line; both are without space around them, and may be written to. */
typedef int key_lines_fn(void *arg, char *key, char *value, struct err *e);

/* ERR_USAGE: a line is no key and value, or `take` has refused it: "FILE:LINE: …"; `file` is for that only. */
int key_lines_parse(const char *text, const char *file, key_lines_fn *take, void *arg,
                    struct err *e);

/* All of a file, NUL-terminated; the caller frees it. NULL: ERR_USAGE, it cannot be read, is no text, or is 64 KiB
 * or larger. */
char *key_lines_read(const char *file, struct err *e);

/* Without space at both ends. */
char *key_lines_trim(char *text);

#endif
