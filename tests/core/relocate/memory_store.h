/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store in memory for the tests of the engine, with a server's bad habits: it fails, shortens,
 * delays and reorders, and it forgets what was not committed when its verifier changes.
 *
 * A world holds what all its servers share: one lock, one count and one log of all calls, in their
 * order, and death. A server holds a tree of images; any number of places, each of a thread of its
 * own, may be open on it. A place asserts what the port demands of its user.
 */
#ifndef TESTS_CORE_RELOCATE_MEMORY_STORE_H
#define TESTS_CORE_RELOCATE_MEMORY_STORE_H

#include <pthread.h>
#include <signal.h>

#include "core/relocate/relocate.h"

enum { MEMORY_NAME_MAX = 128, MEMORY_EXTENTS = 16, MEMORY_PAGE = 4096 };

enum memory_op {
    MEMORY_PLACE_OPEN,
    MEMORY_LOOKUP,
    MEMORY_LIST,
    MEMORY_OPEN,
    MEMORY_CREATE,
    MEMORY_UPDATE,
    MEMORY_MAKE_DIRECTORY,
    MEMORY_EXTENT,
    MEMORY_READ,
    MEMORY_WRITE,
    MEMORY_COMMIT,
    MEMORY_PUBLISH, /* with the name that it gets, if any, else the one that it has */
    MEMORY_REMOVE,
    MEMORY_OPS,
};

struct memory_server;

struct memory_call {
    const struct memory_server *server;
    enum memory_op op;
    char name[MEMORY_NAME_MAX];
    uint64_t offset;
    uint32_t len_bytes;
};

/* What the call at which everything dies still does, before nobody hears of it. */
enum memory_death { DEATH_BEFORE, DEATH_HALF, DEATH_AFTER };

struct memory_world {
    pthread_mutex_t lock;
    unsigned calls;  /* of all servers together */
    unsigned die_at; /* from this call on all fail: the process was killed there. 0: none */
    enum memory_death death;
    bool dead;
    struct memory_call *log;
    size_t n_log, log_max;
    uint64_t random, inodes;
    int64_t clock_ns;
    unsigned devices;
};

/* A file or a directory; "" is the root. */
struct memory_image {
    char name[MEMORY_NAME_MAX];
    struct store_attr attr;
    unsigned char *cached;  /* what a read gives */
    unsigned char *durable; /* what survives */
    size_t bytes_max;       /* that each of the two has room for: a test may set a smaller size */
    unsigned char *pages;   /* of each page, whether anything was written there */
    struct store_extent extents[MEMORY_EXTENTS]; /* of memory_add(): they count, not the pages */
    size_t n_extents;
    bool in_use, claimed, by_link, holes_unknown;
    unsigned uses; /* handles, and its name */
};

struct memory_faults {
    const char *only; /* fail_at, corrupt_at and mute are for names that end so */
    unsigned fail_at; /* the how manyth call is to fail; 0: none */
    int fail_errno;   /* with this */
    volatile sig_atomic_t
        *interrupts;          /* NULL, or what is set just then: it is a signal that ends it */
    unsigned corrupt_at;      /* the how manyth write gets a bit wrong, unnoticed; 0: none */
    unsigned short_every;     /* each how manyth read or write is done by half; 0: none */
    int64_t delay_ns;         /* of each answer to a read, write or commit */
    bool shuffle;             /* answers come late, and in any order */
    bool end_early;           /* reads beyond the first half give nothing */
    bool mute;                /* reads and writes are never answered, until stop() */
    unsigned crash_at_write;  /* before this write, forget what was not committed; 0: never */
    unsigned crash_at_commit; /* the same at this commit */
    unsigned
        forget_at_write; /* before this write, forget also what was committed of parts; 0: never */
    unsigned renew_at_write;          /* before this write memory_rename_handles(); 0: never */
    unsigned renew_at_publish;        /* the same in this publish; */
    bool renewed_late;                /* ... after it has given the attributes */
    unsigned renew_after_publish;     /* the same when this publish has given the name */
    struct memory_server *renews_too; /* NULL, or another one */
    bool empties_renewed;             /* ... with "-part" */
    int64_t renewal_delay_ns;         /* of the answer to a commit from before it */
    bool late_before_crash; /* writes from before the crash are answered after later ones */
    bool crash_always;      /* at every commit */
    bool new_verifiers;     /* another one with each answer, whatever was forgotten */
    bool writes_nothing;    /* each write is answered by 0 bytes */
    bool always_stable;     /* each write is durable at once */
    bool lie;               /* answers to stable writes that they are not */
};

struct memory_server {
    struct memory_world *world;
    const char *url;
    struct memory_image **images; /* all that have a name; [0] is the root */
    size_t n_images;
    struct memory_faults faults;
    uint64_t free_bytes;
    uint32_t align_bytes, io_max_bytes;
    uint64_t device;
    uint8_t verifier;
    bool claims_bind, generation_may_change;
    /* What happened. */
    unsigned counted, counted_writes; /* by fail_at and corrupt_at */
    unsigned done[MEMORY_OPS];        /* calls of each kind */
    uint64_t read_bytes, written_bytes;
    unsigned stable_writes, crashes, failed, corrupted, stopped;
    unsigned open_places, open_files;
    unsigned early_names; /* images that got a final name with something of them not durable */
    /* Called before an image gets its final name, under the lock. */
    void (*publishing)(void *arg, const struct memory_image *image, const char *name);
    void *publishing_arg;
};

struct memory_site {
    struct relocate_site site;
    struct memory_server *server;
};

void memory_world_init(struct memory_world *w);
void memory_world_free(struct memory_world *w);

/* Reports its own faults as `url`, which is lent. */
void memory_server_init(struct memory_server *s, struct memory_world *w, const char *url);
void memory_server_free(struct memory_server *s);

/* A site whose places are all on `s`. */
struct memory_site memory_site(struct memory_server *s);

/* An image of `size` bytes, random within its extents. Directories above it are made. */
struct memory_image *memory_add(struct memory_server *s, const char *name, uint64_t size,
                                const struct store_extent *extents, size_t n);
struct memory_image *memory_add_directory(struct memory_server *s, const char *name);
struct memory_image *memory_find(const struct memory_server *s, const char *name);
void memory_remove(struct memory_server *s, const char *name);

/* It was written to: a new modification and change time. Also while places are at work. */
void memory_touch(struct memory_server *s, const char *name);

/* The server restarts: what is not durable is lost, but for some pages if `keeps_some`. */
void memory_crash(struct memory_server *s, bool keeps_some);

/* The server restarts, and its files have other handles: another generation of each. Those whose names
 * end so (or NULL) are other files, too, with the inode, and nothing in them. */
void memory_rename_handles(struct memory_server *s, const char *emptied);

/* The machine of an async server fails: of the files whose names end so all is gone, committed or not. */
void memory_forget(struct memory_server *s, const char *end);

/* The place in the log of the first or last call of this kind for this name; -1: there is none. */
long memory_first(const struct memory_server *s, enum memory_op op, const char *name);
long memory_last(const struct memory_server *s, enum memory_op op, const char *name);

/* A new process: nothing is dead any more, and no call was made yet. */
void memory_world_revive(struct memory_world *w);
/* No fault is set, nothing was counted yet. The images stay. */
void memory_server_restore(struct memory_server *s);

#endif
