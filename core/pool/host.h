/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host port: what the move of a pool needs of the host that has the pool, and of its domains.
 *
 * A definition is an opaque text, of a domain or of the pool. The engine keeps it, compares it and
 * gives it back; only the host reads or edits it. A domain is known by its UUID, and where a
 * function takes one, NULL is the pool itself.
 *
 * The functions block, each for a bounded time, and are called from one thread. What looks changes
 * nothing. What acts (define, shut_down, start) may fail after it took effect, and whoever called it
 * has to look again: an error says that it is not known to be done, never that it was not. No answer
 * is an error of ERR_LOST or ERR_TIMEOUT; it is never taken for "there is none".
 *
 * All texts are the caller's, to be freed, unless they are said to be kept (core/text.h).
 */
#ifndef CORE_POOL_HOST_H
#define CORE_POOL_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"

enum { POOL_UUID_TEXT = 37 };

/* ---- the pool ---- */

struct pool_facts {
    char *definition; /* the persistent one; it may hold numbers that are of the moment */
    char *path;       /* the pool's directory, by that definition */
    bool active;
    const char *start_command, *edit_command; /* what an operator types; kept */
};

struct pool_volume {
    char *name; /* in the pool's directory */
    enum { POOL_VOLUME_FILE, POOL_VOLUME_DIRECTORY, POOL_VOLUME_OTHER } type;
};

/* ---- domains ---- */

struct pool_domain {
    char uuid[POOL_UUID_TEXT];
    char name[256];
    bool active;
    char *definition; /* the persistent one, with its secrets; NULL of one that has none */
    char *running_as; /* of one that is active: the definition that it runs with */
    /* Why no other definition could lead all that it needs to another place ("has a saved state,
     * which names the old place"), and what to do about that; kept. NULL: nothing is in the way. */
    const char *obstacle, *remedy;
};

/* ---- how definitions are led to another place ---- */

struct domain_image {
    uint32_t uid, gid; /* its owner */
    char *backing;     /* the image in the pool that it is based on; NULL: none */
    char *format;      /* of the backing image; NULL: not said */
};

struct domain_move {
    const char *pool;      /* its name: disks of type 'volume' have it */
    const char *directory; /* where the images are then, on this host; NULL: nowhere */
    /* With a host, disks become network disks: protocol nfs, "/export/images". Else NULL. */
    const char *host, *export;

    /* The name in the pool of what `path` leads to: relative, to be freed; "" is the pool's
     * directory itself. NULL: it is outside. */
    char *(*name)(void *arg, const char *path);
    /* Of network disks: *i of an image, whose strings are to be freed; its backing image only where
     * it is `qcow2`, which the domain or an overlay says. */
    int (*image)(void *arg, const char *name, bool qcow2, struct domain_image *i, struct err *e);
    /* A qcow2 disk outside of the pool that does not say what it is based on: -1 if that is in the
     * pool. NULL: not asked. */
    int (*outside)(void *arg, const char *path, struct err *e);
    /* What an image in the pool is based on, as it says itself, if its user takes it for `format`
     * (NULL: for what it looks like): i->backing and i->format, both to be freed, are set where that
     * is in the pool. -1 (ERR_REFUSED): it would no longer lead there. NULL: not asked. */
    int (*below)(void *arg, const char *name, const char *format, struct domain_image *i,
                 struct err *e);
    void *arg;
};

struct domain_edit {
    char *definition; /* NULL: the domain does not use the pool */
    char **names;     /* in the pool, of what it uses; some perhaps twice, some perhaps not there */
    size_t n;
};

/* ---- who can still reach files ---- */

/* Which files. */
struct image_files {
    /* Whether what absolute `path` leads to is one of them, or the directory of them all. With `here`
     * it is a path of this host, else one of another. */
    bool (*path)(void *arg, const char *path, bool here);
    /* The same of what an NFS server exports as `path`. NULL: none of them is. */
    bool (*nfs)(void *arg, const char *server, const char *path);
    /* Whether a file of this host goes along with them, so that it may be based on them. NULL: none. */
    bool (*along)(void *arg, const char *path);
    void *arg;
    /* The directories of this host that they are in, for what else is there. */
    char *const *directories;
    size_t n_directories;
};

/* What is looked at as it is going to be. */
struct pool_intent {
    const char *pool; /* this one is no user itself; NULL: each is */
    const char
        *target; /* where its volumes are then, and its images are not looked at; NULL: as it is */
    /* The definition that a domain will have, in which case what it runs with does not count either;
     * NULL: as it is. */
    const char *(*definition)(void *arg, const char *uuid);
    void *arg;
};

struct file_user {
    char *who; /* "domain g, which runs", "snapshot s of domain g", "pool p", "volume v of pool p",
                  "image /d/a", "saved state /d/a" */
    char *how; /* what it names: a path */
    bool active;  /* a domain that runs */
    bool reads;   /* ... and only reads what it has of them: a read-only disk, an overlay's base */
    bool unknown; /* it could not be found out: `how` is why */
};

struct file_users {
    struct file_user *at;
    size_t n;
};

/* ---- the port ---- */

struct pool_host;

struct pool_host_ops {
    /* The pool as it is now. */
    int (*pool)(struct pool_host *h, struct pool_facts *facts, struct err *e);
    /* Its volumes, as of its last refresh. */
    int (*volumes)(struct pool_host *h, struct pool_volume **volumes, size_t *n, struct err *e);

    /* All domains of the host, by name. One that ends while it is looked at is reported as it is then. */
    int (*domains)(struct pool_host *h, struct pool_domain **domains, size_t *n, struct err *e);
    /* Whether it runs: 1, 0, -1. */
    int (*active)(struct pool_host *h, const char *uuid, struct err *e);
    /* Its persistent definition, or with `running` the one that it runs with. NULL: e->sys is ENOENT
     * where there is no such domain. */
    char *(*definition)(struct pool_host *h, const char *uuid, bool running, struct err *e);

    /*
     * A definition, led to the new place: of a domain edit->definition and its names; of the pool
     * (uuid NULL) with its directory at m->directory, and no names. All that has not to be another
     * stays byte for byte as it was. `what` is "domain g". ERR_REFUSED: it uses the pool in a way that
     * cannot be led to the new place.
     */
    int (*edit)(struct pool_host *h, const char *uuid, const char *definition, const char *what,
                const struct domain_move *m, struct domain_edit *edit, struct err *e);
    /* Whether the definition, which may be one that a domain runs with, names something in the pool:
     * 1, 0, -1. With `by_path` volumes do not count, of which it does not say where they are. */
    int (*uses)(struct pool_host *h, const char *definition, const char *what, bool by_path,
                const struct domain_move *m, struct err *e);
    /* Whether two definitions that the host gave out say the same, but for what is of the moment. */
    bool (*same)(struct pool_host *h, const char *uuid, const char *a, const char *b);

    /*
     * Makes `definition` the persistent one of the domain that it is of, or of the pool (uuid NULL).
     * The host gives it out in its own words from then on. The pool is stopped for a moment for that,
     * which touches no volume and no domain, and is active with it after it; on failure it may be
     * stopped, with either definition: call it with the old one.
     */
    int (*define)(struct pool_host *h, const char *uuid, const char *definition, struct err *e);
    /* Asks the guest to shut down, and does not wait. One that is not active is fine. */
    int (*shut_down)(struct pool_host *h, const char *uuid, struct err *e);
    /* One that is active by now is fine. */
    int (*start)(struct pool_host *h, const char *uuid, struct err *e);

    /*
     * Who can reach one of the files, by any spelling: domains by their definitions, by what they run
     * with, saved states and snapshots; pools, and images in them; and what all those are based on.
     * Each user once, for the first thing it reaches. `intent` may be NULL. -1: not all could be asked.
     */
    int (*users)(struct pool_host *h, const struct image_files *files,
                 const struct pool_intent *intent, struct file_users *users, struct err *e);
};

/* The common head of every host; written by the host alone. */
struct pool_host {
    const struct pool_host_ops *ops;
    const char *uri;         /* by which the host is reached, for messages and the journal */
    const char *name, *uuid; /* of the pool */
};

void pool_facts_free(struct pool_facts *facts);
void pool_volumes_free(struct pool_volume *volumes, size_t n);
void pool_domains_free(struct pool_domain *domains, size_t n);
void domain_edit_free(struct domain_edit *edit);
void file_users_free(struct file_users *users);

#endif
