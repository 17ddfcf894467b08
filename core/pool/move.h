/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pool on its way to a share, with the domains that use it: the plan, the run, and the way back.
 *
 * Where things are at each phase of the journal (core/pool/journal.h):
 *
 *   none       all as it was; nothing of ours is on the share
 *   BEGUN      pool and domains as they were, domains perhaps shut down; copies, perhaps in part
 *   SWITCHING  all copies are whole; pool and domains are as they were, or as they will be
 *   DONE       pool and domains use the share; the originals are there
 *   DELETING   pool and domains use the share; some originals are gone
 *
 * In BEGUN and SWITCHING the same command goes on, and --undo goes back; DONE has --undo and
 * --delete-originals; DELETING only the latter. A run that fails goes back to BEGUN by itself, or to
 * none, if no copy was begun.
 */
#ifndef CORE_POOL_MOVE_H
#define CORE_POOL_MOVE_H

#include "core/pool/host.h"
#include "core/relocate/relocate.h"
#include "core/pool/original.h"
#include "core/pool/place.h"
#include "core/pool/share.h"

/* The share, which whoever opened it has until pool_close(). */
struct pool_destination {
    const struct relocate_site
        *look; /* where it is looked at: who does not answer is an error soon */
    const struct relocate_site *copy; /* where the copy opens it */
    /* How others name it: "nfs", "/export/images". */
    const char *server, *path;
    const char *mount_command; /* but for where; kept */
};

struct pool_options {
    const char *state_dir;
    const char *mount; /* where the share is mounted on this host; NULL: nowhere */
    bool network;      /* disks become network disks; else files of the mount */
    bool any_mount;    /* of a check: where the mount is to be is not known yet */
    bool shutdown, dry_run, force;
    int64_t shutdown_timeout_ns;
    struct relocate_options copy; /* `cancel` is not NULL, and ends all else, too */
    bool nice_cache;
    const char *undo_command; /* that takes the move back; kept */

    /* Opens the share at `url`, for network disks or not. Touches nothing. ERR_USAGE: no such URL. */
    int (*destination)(void *arg, const char *url, bool network, struct pool_destination *d,
                       struct err *e);
    void *arg;
};

struct pool_names {
    char **at;
    size_t n;
};

/* The pool's directory, as the copy opens it. */
struct pool_source {
    struct relocate_site site;
    char *path, *url;
    bool nice_cache;
};

/* What is being done: to be read from any thread, by who has to say what is left when it is ended there. */
enum pool_stage {
    POOL_LOOKS,   /* nothing was changed yet */
    POOL_COPIES,  /* images, and domains may have been shut down */
    POOL_DEFINES, /* domains are shut down and started, definitions changed: not to be ended there */
    POOL_REMOVES, /* the copies, or the originals; pool and domains are as they are to be */
};

struct pool_move {
    _Atomic enum pool_stage stage;
    struct pool_options options;
    struct pool_host *host;
    int lock_fd;                  /* -1: a dry run, which takes none */
    struct pool_journal *journal; /* of an earlier run, or as planned */
    struct pool_journal *earlier; /* of a run that ended before it switched anything; or NULL */
    bool resumed;                 /* an earlier run's journal is continued */
    bool copying;                 /* copies may be on the share */
    bool back;                    /* pool_put_back() was called */
    bool looked; /* the copies were as they were made, when they were looked at last */
    bool
        written; /* guests have written to the copies already, or may have: nothing may be put back */

    /* The plan. */
    struct pool_place place;
    struct pool_destination to;
    struct domain_move how;
    struct pool_source source;
    struct relocate_source *sources; /* of the copy, lent to that: */
    struct relocate *relocate;
    char **after;            /* the new definition of each of the journal's domains */
    char *pool_after;        /* NULL: the pool stays as it is */
    char *share;             /* the share's URL; its path ends in a slash */
    char *mount;             /* without a slash at its end; NULL: none */
    struct pool_names stale; /* copies of ours whose originals have changed since */
    size_t running;          /* domains that are to be shut down */
    struct pool_names named; /* in the pool, by its domains and by what their images are based on */
    struct pool_names used;  /* names in the pool's directory */

    const char *unsettled; /* what could not be put back, a kept text; NULL: nothing */
};

/*
 * Opens pool and journal. Then either of:
 *  - pool_plan(), which checks all and touches nothing; m->journal->phase is DONE if there is
 *    nothing left to do. Then pool_run().
 *  - pool_undo(), pool_delete(), which check all first, and then do it.
 * Errors that are ERR_REFUSED or ERR_USAGE have touched nothing.
 */
int pool_open(struct pool_move *m, struct pool_host *host, const struct pool_options *options,
              struct err *e);
void pool_close(struct pool_move *m);

int pool_plan(struct pool_move *m, const char *share, struct err *e);

/* ERR_UNCERTAIN: it failed, and not all could be put back; else -1 is put back. */
int pool_run(struct pool_move *m, struct err *e);

int pool_undo(struct pool_move *m, struct err *e);

/* Makes any error before something is done a refusal, whoever found it; but no answer refuses nothing,
 * nor does the operator who stops it. Always -1. */
int pool_refuse(const struct pool_move *m, struct err *e);

int pool_delete(struct pool_move *m, struct err *e);

/* ---- between the files of this ---- */

/* How definitions are led there, from m->place and where it goes. */
void pool_set_how(struct pool_move *m);

/* As m->share says. */
int pool_open_destination(struct pool_move *m, struct err *e);
int pool_open_share(struct pool_move *m, struct pool_share *s, struct err *e);

/* Whether the operator has asked to stop. */
bool pool_interrupted(const struct pool_move *m);

/* err_stopped(), if so. Always -1. */
int pool_stopped(const struct pool_move *m, struct err *e);

int pool_write_journal(struct pool_move *m, enum pool_phase phase, struct err *e);

/* Takes `name`, unless it is there already; NULL is an error. */
int pool_names_add(struct pool_names *names, char *name, struct err *e);
void pool_names_free(struct pool_names *names);

/* Adds `name` to "a, b", which begins as NULL; free() it. */
int pool_list(char **list, const char *name, struct err *e);
int pool_no_memory(struct err *e);

/* -- pool_undo.c, pool_delete.c -- */

/* ERR_REFUSED: there is no journal, so there is nothing to `what`. Always -1. */
int pool_no_journal(const struct pool_move *m, const char *what, struct err *e);
/* Opens the places that the journal tells of. */
int pool_open_journal(struct pool_move *m, struct err *e);
/* Deletes the journal's originals, which is in POOL_DELETING. Never ERR_REFUSED: the error says how
 * many are gone, and another run goes on with the others. */
int pool_delete_originals(struct pool_move *m, struct err *e);

/* -- pool_domains.c -- */

/* The journal's domains, and m->after, from what is there now. */
int pool_plan_domains(struct pool_move *m, struct err *e);
/* Only m->after, from the journal. */
int pool_plan_redefinitions(struct pool_move *m, struct err *e);

/* Whether two definitions of the domain say the same. */
bool pool_same(struct pool_move *m, const struct pool_journal_domain *d, const char *a,
               const char *b);

/* The domains that run and are in the journal, or use the pool all the same: "g1, g2", or NULL. */
int pool_running(struct pool_move *m, char **names, struct err *e);

/* Shuts down those of the journal's domains that run, and waits for it until the deadline. */
int pool_shut_down(struct pool_move *m, struct err *e);
/* Starts those again that we have shut down. */
void pool_start_again(struct pool_move *m);

/* Idempotent: what was redefined already stays. On failure some are. */
int pool_redefine(struct pool_move *m, struct err *e);
/* No domain runs from the old place. */
int pool_check_moved(struct pool_move *m, struct err *e);

/* Puts pool and domains back as they were before the move, once; what it cannot goes to
 * m->unsettled. */
void pool_put_back(struct pool_move *m);
void pool_unsettled(struct pool_move *m, const char *what);

/* -- pool_users.c -- */

/* ERR_REFUSED: somebody who is not pointed at the share can reach something in the old place. */
int pool_check_left_behind(struct pool_move *m, struct err *e);
/* ERR_REFUSED: a process has an original open for writing, whatever its name was then. */
int pool_check_open(struct pool_move *m, struct err *e);
/* ERR_REFUSED: somebody can reach an original, or has it open; or the pool is not at the mount. */
int pool_check_originals_unused(struct pool_move *m, struct err *e);
/* ERR_REFUSED: a process has that one open, right before it is deleted. */
int pool_check_original_closed(struct pool_move *m, const struct pool_journal_image *image,
                               struct err *e);
/* ERR_REFUSED: a process has a copy open for writing, at the mount. */
int pool_check_copies_closed(struct pool_move *m, struct err *e);
/* ERR_REFUSED: somebody can reach a copy once pool and domains are put back, or, with `put_back`, now. */
int pool_check_copies_unused(struct pool_move *m, bool put_back, struct err *e);

/* -- pool_copy.c -- */

/* Plans the copy, and with it the journal's images, from what is there now. Touches nothing. */
int pool_plan_copy(struct pool_move *m, struct err *e);

/* Nobody has touched the originals since they were copied. */
int pool_check_originals(struct pool_move *m, struct err *e);
/* All copies are there, at the mount as well, and belong to whom they have to. */
int pool_check_copies(struct pool_move *m, struct err *e);
/* Which copies are not as they were made: "a.img, b.img", or "". */
int pool_changed_copies(struct pool_move *m, char **names, struct err *e);
/* Removes what we have made on the share. */
int pool_remove_copies(struct pool_move *m, enum pool_copy_proof proof, struct err *e);
/* Removes the copies of what was changed since an earlier run, and plans the copy again. */
int pool_discard_stale(struct pool_move *m, struct err *e);

#endif
