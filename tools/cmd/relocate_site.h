/* SPDX-License-Identifier: Apache-2.0 */
/* The operands of `godwit relocate`: which places they are in, and what they are called there. */
#ifndef TOOLS_CMD_RELOCATE_SITE_H
#define TOOLS_CMD_RELOCATE_SITE_H

#include "core/relocate/relocate.h"
#include "nfs/share.h"

struct relocate_sites;

/* A directory that operands are in: a path, a share's URL, or null:. */
struct relocate_dir {
    struct relocate_site site;
    const struct relocate_sites *all;
    char *text; /* what is opened */
    bool is_share;
    bool keeps_none;       /* null: */
    _Atomic bool was_open; /* a share that could be opened: later it is worth waiting for */
};

struct relocate_sites {
    /* The caller's. */
    enum ring_backend ring;
    bool nice_cache;
    struct share_options share;
    _Atomic int connections_left; /* that share.connections_left usually points to */

    struct relocate_dir **dirs; /* n_dirs */
    size_t n_dirs;
    struct relocate_dir *to;
    struct relocate_source *sources; /* as many as were given */
    size_t n;
};

/* Takes the operands apart. ERR_USAGE, or ERR_REFUSED where a look at the place was needed. */
int relocate_sites_open(struct relocate_sites *s, char **sources, size_t n, const char *destination,
                        bool recursive, struct err *e);

/* Directory `operand`, which need not be one that is named by sources; it lives until they are closed. */
struct relocate_dir *relocate_sites_directory(struct relocate_sites *s, const char *operand,
                                              struct err *e);

/* After relocate_free(). */
void relocate_sites_close(struct relocate_sites *s);

#endif
