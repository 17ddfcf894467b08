/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of a share know of each other. Private to nfs/share*.c. */
#ifndef NFS_SHARE_PLACE_H
#define NFS_SHARE_PLACE_H

#include <stddef.h>

#include "nfs/share.h"
#include "nfs/share_carrier.h"
#include "nfs/share_url.h"

enum { SHARE_CONNECTIONS_MAX = 64 };

struct share_place {
    struct store_place base;
    struct share_url url;
    struct share_options options;
    char
        host[sizeof(((struct share_url *)NULL)->host) + 2]; /* for messages: IPv6 in its brackets */
    int mapper_port;            /* where it is asked for ports: 111, but in tests */
    int nfs_port, mount_port;   /* where they were found last; 0: not known */
    struct share_fh root;       /* the directory that the URL names */
    struct share_conn *control; /* for the procedures that block; NULL: none yet */
    int64_t answered_ns;        /* when the server has last answered anything; 0: never */
    bool given_up; /* what was asked after Ctrl-C got no answer: nothing more is asked */
    struct share_data *data[SHARE_CONNECTIONS_MAX];
    unsigned n_data; /* at least one */
    /* The directory in which a name was last looked up: names come in the order of directories. */
    char last_path[PATH_MAX]; /* "": none */
    struct share_fh last_dir;
    char text[]; /* "nfs://host/dir/": with its slash, as the prefix of names in messages */
};

struct share_file {
    struct store_file base;
    struct share_fh fh;
    char *name;   /* of its own; base.name points to it */
    bool writes;  /* it was opened to be written to, or made */
    bool stale;   /* fh is: it is to be renewed before the next I/O */
    bool renewed; /* it was, and will not be once more */
};

static inline struct share_place *share_of(struct store_place *p)
{
    return (struct share_place *)p;
}

#endif
