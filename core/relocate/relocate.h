/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The relocation engine: copies images from one store to another, each whole or not at all.
 *
 * An image is written as a part, under a name of its own beside its final one, until every byte is
 * durable; then it gets the source's mode, owner and times, and its final name. Sources are only
 * read, unless they are to be moved.
 *
 * An image of more than one chunk has a journal beside its part, of the chunks that are durable. It
 * and the part are left there when a run ends early with durable chunks, and the next run continues
 * with them. Everything else that an unfinished run has made is removed by it, or by the next one.
 */
#ifndef CORE_RELOCATE_RELOCATE_H
#define CORE_RELOCATE_RELOCATE_H

#include <signal.h>

#include "core/relocate/checksum.h"
#include "core/relocate/image_format.h"
#include "core/store/store.h"

/* Where images are. Each worker opens it anew, on its own ring and from its own thread. */
struct relocate_site {
    const char *url; /* as the place's; for messages */
    struct store_place *(*open)(const struct relocate_site *site, struct ring *ring, struct err *e);
};

struct relocate_source {
    const struct relocate_site *from;
    const char *name; /* in `from`: an image; or, with `recursive`, a directory */
    const char *as;   /* its name at the destination */
};

enum relocate_state {
    RELOCATE_PENDING,
    RELOCATE_COPYING,
    RELOCATE_DONE,
    RELOCATE_KEPT, /* not done; what is durable of it was left there for the next run */
};

struct relocate_image {
    const struct relocate_site *from;
    const char *name, *as; /* in the two places */
    enum relocate_state state;
    bool was_there; /* done by an earlier run: nothing was copied */
    bool verified;  /* read back and compared */
    bool moved;     /* its source was removed */
    uint64_t bytes, data_bytes;
    uint64_t resumed_bytes;          /* of the data, durable since an earlier run */
    char xxh3_128[CHECKSUM_HEX_MAX]; /* of the content, holes included; "": not made */
};

struct relocate_totals {
    uint64_t images, images_done;
    uint64_t bytes, data_bytes;            /* of the images that are done */
    uint64_t resumed_bytes, written_bytes; /* of all */
    uint64_t read, write, commit;          /* requests */
    uint64_t resent;         /* writes that had to be repeated: their first copy may be lost */
    unsigned workers, depth; /* that the tuner ended with */
    uint32_t block_bytes;
};

struct relocate_progress {
    const char *name;                      /* of an image that is under way */
    uint64_t bytes, total_bytes;           /* of all images, holes included; never goes back */
    uint64_t data_bytes, total_data_bytes; /* what is read back counts as well */
    uint64_t images, images_done;
    uint64_t bytes_per_s; /* of data, lately; 0: not known yet */
    int64_t eta_ns;       /* -1: not known yet */
};

typedef void relocate_progress_fn(void *arg, const struct relocate_progress *p);

struct relocate_options {
    bool recursive; /* sources may be directories */
    bool follow; /* what symbolic links in them lead to is copied under the link's name, if that is
                         no directory; else links are left out. Links that are sources always are */
    bool overwrite; /* what stands at the destination is replaced */
    bool restart;   /* what an earlier run left is not continued but removed */
    bool renew;     /* the same of an image whose source was changed since; else that is refused */
    bool force;     /* sources that a running QEMU writes to, too, unless they are to be moved */
    bool verify;    /* read back what was written, and compare */
    bool verify_only;             /* copy nothing: compare what stands there with its source */
    bool move;                    /* remove each source, once its image stands there */
    enum image_format_ask format; /* of the sources; decides about backing files */
    bool whole_sums; /* xxh3_128 of each image: one worker alone then reads all of it, in order */
    bool chunk_sums; /* of none. With neither: where it costs nothing that is worth mentioning, */
                     /* which means small enough for one worker, few holes, and not continued */

    enum ring_backend ring;
    unsigned workers_max;  /* each with a connection of its own */
    unsigned depth_max;    /* blocks under way of each */
    uint32_t block_bytes;  /* a multiple of 4096; cut to what the places take */
    uint64_t chunk_bytes;  /* the unit of durability: a multiple of block_bytes */
    uint64_t flight_bytes; /* in blocks under way, of all workers */
    bool fixed;            /* take workers_max, depth_max and block_bytes as they are: no tuning */
    uint64_t bytes_per_s;  /* of data read; 0: no limit */

    /* Called twice of an image that was copied: before it gets its name, which it gets as the file that
     * *attr tells, with ctime_ns 0, as that is not known yet; and when it has it, and is *attr there. Who
     * writes that down knows it for its own, whenever it is killed. From the thread of a worker, by several
     * at once; -1 ends the copy. May be NULL */
    int (*published)(void *arg, const char *as, const struct store_attr *attr, struct err *e);
    /* The same of one that stood there already: all of it was compared with its source, and it is still the
     * file that was, unchanged. Also with verify_only. May be NULL */
    int (*compared)(void *arg, const char *as, const struct store_attr *attr, struct err *e);
    void *published_arg; /* of both */

    /* Asked right before the source of a whole image, which is *attr, is removed: -1, and it stays, and
     * the image counts as failed. From the thread of a worker, by several at once. May be NULL */
    int (*may_remove)(void *arg, const struct relocate_image *image, const struct store_attr *attr,
                      struct err *e);
    void *may_remove_arg;

    const volatile sig_atomic_t *cancel; /* set: stop soon. May be NULL */
    relocate_progress_fn *progress;      /* several times a second, from the caller's thread, and at
                                            the end. May be NULL */
    void *progress_arg;
};

struct relocate;

/*
 * What is to be done, or ERR_REFUSED with the first reason why it cannot be begun: sources that
 * cannot be read or are in use, two of one name, images that exist, journals that belong to
 * another copy, no room; ERR_LOST or ERR_TIMEOUT, a server does not answer: the same may work later.
 * Touches nothing. `sources` and `options` are lent until relocate_free().
 * NULL with the error.
 *
 * When some of several images stand there already, with the size and the modification time of
 * their sources, and others do not, an earlier run was ended: then they count as done.
 */
struct relocate *relocate_plan(const struct relocate_source *sources, size_t n,
                               const struct relocate_site *to,
                               const struct relocate_options *options, struct err *e);

/* 0: all images stand, durable, under their final names. -1: the first error; the images tell. */
int relocate_run(struct relocate *r, struct err *e);

const struct relocate_image *relocate_image(const struct relocate *r, size_t i); /* NULL: no more */
const struct relocate_totals *relocate_totals(const struct relocate *r);

void relocate_free(struct relocate *r); /* NULL is fine */

#endif
