/* SPDX-License-Identifier: Apache-2.0 */
/* Paths in a text that others take apart: QEMU's arguments and backing names, environments. Pure. */
#ifndef CORE_POOL_PATH_TEXT_H
#define CORE_POOL_PATH_TEXT_H

#include <stdbool.h>

/* What a path leads to, to be freed; NULL: nothing that matters here (as struct domain_move.name). */
typedef char *path_text_name(void *arg, const char *path);

/*
 * Whether some path in `text` is one that `name` knows. Who reads the text is not known, so each
 * spelling counts that one of its readers takes for a path: the text itself, "file=/p", "file:/p",
 * "file:///p", "X=/a:/p", "/p" in quotes, brackets or JSON with its escapes, ",," for a comma, and
 * "%2F" of URLs. With `from_root` also "p/x" and "../p/x", as a QEMU of libvirt's works in "/".
 */
bool path_text_has(const char *text, bool from_root, path_text_name *name, void *arg);

#endif
