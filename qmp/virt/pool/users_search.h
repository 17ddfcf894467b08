/* SPDX-License-Identifier: Apache-2.0 */
/* The search of qmp/virt/pool/users.c, between its files. */
#ifndef QMP_VIRT_POOL_USERS_SEARCH_H
#define QMP_VIRT_POOL_USERS_SEARCH_H

#include "qmp/virt/host.h"
#include "qmp/virt/pool/users.h"
#include "qmp/virt/xml.h"

struct known_pool {
    char *name, *target;
    char *server, *export; /* of type netfs with protocol nfs; else NULL */
    bool holds_files;      /* its target is a directory of files */
    bool given;            /* its target is the one of the intent, where it is not yet */
    virStoragePoolPtr pool;
};

struct search {
    const struct image_files *files;
    const struct pool_intent *intent; /* never NULL */
    struct virt_host *host;
    bool here;
    struct known_pool *pools;
    size_t n_pools;
    struct file_users *users;
    char *found; /* what the definition that is being looked at reaches, or why that is not known */
    bool data;   /* one of the files was found as an external data file, which is written to */
    void *looked; /* a tree (tsearch) of the files that were looked at */
};

/* Takes `who`, which may be NULL: no memory. */
int search_add(struct search *s, char *who, const char *how, bool active, bool unknown,
               struct err *e);
char *user_text(const char *what, const char *name, const char *of, const char *domain);
int search_no_memory(struct err *e);

/* Whether it is one of the files. */
bool search_path(struct search *s, const char *path);
/* 1: what the image is based on is one of the files; 0; -1: that cannot be found out, s->found says
 * why. */
int search_chain(struct search *s, const char *path);
/* What is in `xml` (anything that holds a definition); takes `who`. Remembers the first only. */
int search_xml(struct search *s, char *who, const char *xml, bool active, bool *is_user,
               struct err *e);

/* libvirt gave nothing: because what it is of has just gone? Else the error. */
int search_gone(const struct search *s, int code, const char *what, struct err *e);
bool search_is_intended(const struct search *s, const struct known_pool *p);

/* -- users_files.c -- */

/* The files of this host that could be users though no domain has them: images, saved states. */
int search_files(struct search *s, virConnectPtr conn, struct err *e);
void search_files_close(struct search *s);

#endif
