/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A host in memory for the tests of the pool's move: a pool, domains with guests that write, and
 * a share. All of it survives the process that moves the pool, which may be killed at any call.
 *
 * A definition is lines of text: "domain UUID NAME" or "pool NAME UUID" and "path PATH", then "disk PATH",
 * "volume POOL NAME" or "nfs HOST PATH"; "given N" is the host's own, and another one each time that it
 * is defined; "cache none" is added to what is moved. Images are real files: those of the pool in `top`/pool, the share in `top`/share.
 */
#ifndef TESTS_CORE_POOL_FAKE_HOST_H
#define TESTS_CORE_POOL_FAKE_HOST_H

#include <stdatomic.h>

#include "core/pool/host.h"
#include "core/relocate/relocate.h"

enum { FAKE_DOMAINS = 4, FAKE_TEXT = 512, FAKE_DISKS = 4, FAKE_IMAGE_BYTES = 16384 };

#define FAKE_SERVER "server"
#define FAKE_EXPORT "/export"

/* What happens at call `at`: of the host, of the share, of the journal, or of a removal. */
enum fake_fault {
    FAKE_NONE,
    FAKE_FAILS,        /* it has no effect, and is an error */
    FAKE_FAILS_AFTER,  /* it has its effect, and is an error */
    FAKE_LOST,         /* from there on the host answers nothing */
    FAKE_KILLED,       /* whoever calls is killed before it has its effect */
    FAKE_KILLED_AFTER, /* ... and after it */
    FAKE_STARTED,      /* right before it somebody starts domain `meddled`, whose guest writes */
    FAKE_USED,         /* ... and ends it again */
    FAKE_FAULTS,
};

struct fake_domain {
    char uuid[POOL_UUID_TEXT], name[16];
    char definition[FAKE_TEXT];
    char running_as[FAKE_TEXT]; /* "": it does not run */
    uint64_t written;           /* how often its guest has written to each of its disks */
};

/* In memory that is shared with the processes that move the pool. */
struct fake_world {
    char top[64];
    char pool[FAKE_TEXT];
    bool pool_active;
    struct fake_domain domains[FAKE_DOMAINS];
    size_t n;
    unsigned given;
    _Atomic unsigned calls;
    unsigned at;
    enum fake_fault fault;
    size_t meddled;
    bool lost;
    char act[16];        /* for messages */
    char hit[64];        /* the call at which it happened; "": none */
    char violation[256]; /* the first thing done that must never be; "": none */
};

/* A world without domains, in a new directory. */
struct fake_world *fake_world_new(void);
/* As new, without domains, images and state. */
void fake_world_reset(struct fake_world *w);
void fake_world_free(struct fake_world *w);

/* An image below `top`: "pool/a.img", "pool/sub/c.img", "other/x.img". */
void fake_image(struct fake_world *w, const char *name);
/* A domain, with the lines of its disks. */
struct fake_domain *fake_domain(struct fake_world *w, const char *name, const char *disks);

/* The port, of one process. */
struct pool_host *fake_host(struct fake_world *w);
/* The share as a store, of one process; its calls count as the host's do. */
const struct relocate_site *fake_share(struct fake_world *w);

/* Its guest writes; where it has no image to write to, that is a violation. */
void fake_start(struct fake_world *w, struct fake_domain *d);
void fake_end(struct fake_domain *d);
/* Somebody changes its definition, in what has nothing to do with its disks. */
void fake_note(struct fake_domain *d);
/* The guest of one that runs. */
void fake_write(struct fake_world *w, struct fake_domain *d);

/* Whether two definitions say the same. */
bool fake_same(const char *a, const char *b);
/* `definition` as it has to be on the share. */
void fake_moved(const struct fake_world *w, const char *definition, bool network,
                char to[FAKE_TEXT]);
/* The pool's path by its definition. */
void fake_pool_path(const struct fake_world *w, char to[256]);

/* What is wrong with an image that the definition names; NULL: nothing, all that was written is there. */
const char *fake_look(const struct fake_world *w, const struct fake_domain *d,
                      const char *definition);

#endif
