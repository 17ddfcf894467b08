/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One image on its way. It is shared by all workers, each of which holds files of its own for it
 * (its handles). What is marked [lock] is only touched under the workers' lock; the rest is written by
 * one worker at a time: by the one that opens it before the others see it, by whoever works on a
 * chunk for that chunk, and by the last one at the end of a phase.
 */
#ifndef CORE_RELOCATE_TRANSFER_H
#define CORE_RELOCATE_TRANSFER_H

#include <stdatomic.h>

#include "core/relocate/copy.h"
#include "core/relocate/journal.h"
#include "core/relocate/relocate.h"

/* In this order; each transfer has some of them. */
enum transfer_phase {
    TRANSFER_COPY = 1 << 0,
    TRANSFER_DIGEST = 1 << 1, /* of the source, when nothing is copied */
    TRANSFER_VERIFY = 1 << 2, /* the destination is read and compared */
    TRANSFER_END = 1 << 3,
};

struct transfer_chunk {
    unsigned char digest[CHECKSUM_BYTES];
    uint8_t
        verifier[STORE_VERIFIER_BYTES]; /* that it was proven durable under, if it was `written` */
    bool durable;                       /* proven, and in the journal if there is one */
    bool known;                         /* its digest */
    bool written;                       /* not only zeros */
    bool compared;                      /* read back and found right */
    bool doubted;                       /* to be read back in any case */
};

struct transfer {
    const struct relocate_options *options;
    struct relocate_image image;
    struct store_attr attr; /* of the source, as planned */
    char *part, *journal;   /* names beside image.as */
    const struct owner *self;
    char **left; /* names of what ended runs have left, of no use: n_left of them */
    size_t n_left;
    struct store_attr replaces; /* what stands at image.as, if `overwrites` */
    bool overwrites;
    const struct transfer *after; /* is to have ended before; or NULL */
    unsigned phases;              /* that it goes through */
    bool resume;        /* a part and a journal of an earlier run are there, and are good */
    bool stale_journal; /* a journal is there that nothing is to be continued with: journal_is */
    bool publish;       /* it is a part yet */
    bool proven;        /* image.was_there, and that it is what we have made is on record */
    struct store_attr
        there_is; /* what stands at image.as, where that is compared or counts as done */
    bool useless; /* what was copied is of a source that is not there any more */

    enum { TRANSFER_PENDING, TRANSFER_OPENING, TRANSFER_OPEN, TRANSFER_ENDED } state; /* [lock] */
    enum transfer_phase phase;                                                        /* [lock] */
    size_t cursor, outstanding; /* [lock] the next chunk of the phase; those a worker is at */
    uint64_t work_bytes;        /* [lock] of data that its phases go over; an estimate at first */
    unsigned owner;             /* the worker that has it alone, when it has `whole` */

    bool part_made, journaled; /* are there now, and ours: */
    struct store_attr part_is, journal_is;
    struct store_claim *claim; /* of one of them; or NULL */
    struct journal_header header;
    uint8_t instance[STORE_VERIFIER_BYTES]; /* of the server, at the end of the last phase */
    unsigned proofs;                        /* so often it was another one */
    bool unproven;                          /* too often to know whether it has all of the image */
    bool again;                             /* chunks that were copied are copied once more */
    /* The part was found with another generation (store_may_be_same()) since it was proven last: its
     * chunks prove that it is ours, when they are read back. */
    atomic_bool renewed;
    unsigned renewals;        /* so often it was */
    bool may_forget;          /* the destination's place may */
    uint64_t more_work_bytes; /* than its phases */
    struct extents map;       /* of the source */
    struct extents back;      /* of the destination, for TRANSFER_VERIFY */
    struct transfer_chunk *chunks;
    size_t n_chunks;
    struct checksum *whole;
    uint64_t whole_to;
};

struct transfer_handles {
    struct store_place *from, *to;
    enum transfer_phase phase; /* what they were opened for */
    struct store_file *src;    /* TRANSFER_COPY, TRANSFER_DIGEST */
    struct store_file *dst;    /* TRANSFER_COPY, TRANSFER_VERIFY */
    struct store_file *log;    /* the journal */
};

struct transfer *transfer_new(const struct relocate_options *options,
                              const struct relocate_source *source, const struct store_attr *attr,
                              struct err *e);
void transfer_free(struct transfer *t);

/* Whether a source can be copied as it was opened: its disk's blocks, and who uses it. */
int transfer_check_opened(const struct transfer *t, const struct store_file *src, struct err *e);

/* The end of a chunk: that of the image cuts it short. */
uint64_t transfer_chunk_end(const struct transfer *t, size_t chunk);

/* A file as it is. */
struct store_file *transfer_file(struct store_place *p, const char *name, enum store_how how,
                                 struct err *e);

/* The same, if it is *is; else ESTALE. */
struct store_file *transfer_file_is(struct store_place *p, const char *name, enum store_how how,
                                    const struct store_attr *is, struct err *e);

/* The first worker: opens the source, finds its holes, makes the part or continues with it. On
 * failure the handles are empty again. */
int transfer_open(struct transfer *t, struct transfer_handles *h, struct err *e);

/* Another worker, or the same for another phase. On failure the handles are empty. */
int transfer_join(struct transfer *t, struct transfer_handles *h, enum transfer_phase phase,
                  struct err *e);

void transfer_release(struct transfer_handles *h);

/* Whether there is a chunk left in this phase that something is to be done about; the next one, of
 * which there must be one. [lock] */
bool transfer_left(struct transfer *t);
size_t transfer_next(struct transfer *t);

void transfer_range(struct transfer *t, const struct transfer_handles *h, size_t chunk,
                    struct copy_range *r);

/* A range came back: its chunk is durable, or compared. */
int transfer_took(struct transfer *t, const struct transfer_handles *h, const struct copy_range *r,
                  struct err *e);

/* Which phase follows; 0 is before the first. */
enum transfer_phase transfer_phase_after(const struct transfer *t, enum transfer_phase phase);

/*
 * All chunks of the phase are done; *next is what follows: where the server has become another
 * instance meanwhile, what that one has not confirmed is read back, and what is not there any more is
 * copied again. The handles are ready for *next then.
 */
int transfer_end_phase(struct transfer *t, struct transfer_handles *h, enum transfer_phase *next,
                       struct err *e);

/* Before TRANSFER_END, by whoever was last: gives the image its name. Where the part is found under another
 * generation by then it is proven anew first: *next becomes TRANSFER_VERIFY, and the handles are ready. */
int transfer_finish(struct transfer *t, struct transfer_handles *h, enum transfer_phase *next,
                    struct err *e);

/* After a failure: removes what is not worth to be kept, or, with `to` NULL, only finds out what
 * is. -1: what is left, and why. */
int transfer_abandon(struct transfer *t, struct store_place *to, struct err *e);

/* Whether several workers may work on it, as far as is known before it is open. */
bool transfer_may_be_shared(const struct transfer *t);

/* For work_bytes. */
uint64_t transfer_work_bytes(const struct transfer *t);

#endif
