/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The form is "HEX  NAME", not that of --tag: both are understood by xxhsum, and this one is what
 * people know from sha256sum. Since 0.8.2 xxhsum writes a backslash in front of a line whose name
 * has escapes in it; a line without one is taken by its letters by all versions, so that
 * backslashes need no care here.
 */
#include "core/relocate/manifest.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

int manifest_check(const char *name, struct err *e)
{
    if (strchr(name, '\n') == NULL)
        return 0;
    err_set(e, ERR_REFUSED, 0, "'%s': a manifest can't hold a name with a line break", name);
    for (char *c = e->msg; *c != '\0'; c++)
        if (*c == '\n')
            *c = '?';
    return err_hint(e, "rename it, or leave --manifest out");
}

int manifest_line(FILE *to, const char hex[CHECKSUM_HEX_MAX], const char *name, struct err *e)
{
    assert(strlen(hex) == CHECKSUM_HEX_MAX - 1);
    if (manifest_check(name, e) < 0)
        return -1;
    /* the one name that xxhsum takes for something else than a file */
    const char *dir = strcmp(name, "stdin") == 0 ? "./" : "";
    if (fprintf(to, "%s  %s%s\n", hex, dir, name) < 0)
        return err_set(e, ERR_IO, errno, "cannot write the manifest");
    return 0;
}
