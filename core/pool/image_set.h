/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images of this host or of an NFS share, and the one question about them: who uses them, by any
 * name? Asked of hosts (core/pool/host.h), and of this host's kernel (core/relocate/open_files.h).
 */
#ifndef CORE_POOL_IMAGE_SET_H
#define CORE_POOL_IMAGE_SET_H

#include "core/relocate/open_files.h"
#include "core/pool/host.h"
#include "core/pool/place.h"

struct image_name {
    char *path;             /* of this host, without symbolic links; NULL: it is on `server` */
    struct open_file_id id; /* of one that is there */
    bool there;
    bool shared;                /* other hosts may see it by that path */
    char *server, *exported;    /* of an NFS server, or NULL */
    uint64_t inode, size_bytes; /* as the server tells them; 0: not known */
};

struct image_set {
    const struct pool_place *place; /* also: this directory; NULL: none */
    bool all;                       /* and all that is in it */
    const struct image_set *along;  /* these go with them, and may be based on them; NULL: none */
    struct image_name *at;
    size_t n;
    char **directories; /* of those of this host */
    size_t n_directories;
};

/* A file of this host, which need not be there. */
int image_set_add(struct image_set *set, const char *path, struct err *e);
/* What the server of a share exports as `path`. */
int image_set_add_exported(struct image_set *set, const char *server, const char *path,
                           uint64_t inode, uint64_t size_bytes, struct err *e);
/* Forgets what files were that are not there any more: their inode numbers can be others' by now. */
void image_set_drop_gone(struct image_set *set);
void image_set_free(struct image_set *set);

/* As the question about users has them. */
struct image_files image_set_files(struct image_set *set);

/* ---- who uses them ---- */

/* Each once: "domain g, which runs (/pool/a.img)", "qemu (12) has /pool/a.img open". */
struct image_users {
    char **at;
    size_t n;
};

enum image_openers {
    IMAGE_OPENERS_WRITE,   /* who can write to one: for a copy, which takes nothing away */
    IMAGE_OPENERS_KNOWN,   /* who has one open; who cannot be asked is in the log */
    IMAGE_OPENERS_POSSIBLE /* and who cannot be asked: not to know is no permission to remove */
};

/* Adds the processes that have one of the set open. */
int image_users_add_openers(struct image_users *l, const struct image_set *set,
                            enum image_openers which, struct err *e);
int image_users_add(struct image_users *l, const struct file_user *u, struct err *e);
void image_users_free(struct image_users *l);

/* -1, ERR_REFUSED: "<what>: " and them, as many as a message holds, with `hint`, and those in it that it
 * does not hold: each has a name that the operator needs. 0: there is none. */
int image_users_refuse(const struct image_users *l, const char *what, const char *hint,
                       struct err *e);

#endif
