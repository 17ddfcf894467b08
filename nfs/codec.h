/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is spoken on the data path, as bytes: READ, WRITE and COMMIT of NFSv3 (RFC 1813) in ONC RPC
 * (RFC 5531) with AUTH_SYS, records marked as over TCP. Pure functions, no I/O, nothing allocated.
 *
 * A call is its head; of WRITE, followed by the payload from where it lies, and codec_pad() zero
 * bytes. A reply is its head, too; of a READ that was done, followed by payload and padding.
 */
#ifndef NFS_CODEC_H
#define NFS_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CODEC_FH_MAX = 64,      /* RFC 1813, NFS3_FHSIZE */
    CODEC_MACHINE_MAX = 32, /* longer names are cut */
    CODEC_GROUPS_MAX = 16,  /* RFC 5531, authsys_parms */
    CODEC_CALL_MAX = 256,   /* the longest head */
    CODEC_REPLY_MAX = 576,  /* so is this, of replies */
    CODEC_XID_BYTES = 8,    /* what codec_reply_xid() needs of a reply */
    CODEC_VERIFIER_BYTES = 8,
};

enum codec_proc { CODEC_READ = 6, CODEC_WRITE = 7, CODEC_COMMIT = 21 };

struct codec_cred {
    uint32_t uid, gid;
    uint32_t n_groups, groups[CODEC_GROUPS_MAX]; /* besides gid */
    const char *machine;
};

struct codec_fh {
    const void *val;
    uint32_t len; /* at most CODEC_FH_MAX */
};

/* Writes a head; its length in bytes. */
size_t codec_read_call(uint8_t head[CODEC_CALL_MAX], uint32_t xid, const struct codec_cred *cred,
                       struct codec_fh fh, uint64_t offset, uint32_t count);
size_t codec_write_call(uint8_t head[CODEC_CALL_MAX], uint32_t xid, const struct codec_cred *cred,
                        struct codec_fh fh, uint64_t offset, uint32_t count, bool file_sync);
size_t codec_commit_call(uint8_t head[CODEC_CALL_MAX], uint32_t xid, const struct codec_cred *cred,
                         struct codec_fh fh, uint64_t offset, uint32_t count);

/* How many zero bytes follow a payload of `count`. */
uint32_t codec_pad(uint32_t count);

/*
 * The marks in a stream that comes in pieces: before each fragment of a record. Zeroed before the
 * first use; who takes bytes of a fragment counts `left_bytes` down; at 0 the next mark follows.
 */
struct codec_fragment {
    uint32_t left_bytes;
    bool last; /* of its record */
    uint8_t mark[4];
    uint8_t mark_len;
};

/*
 * Takes bytes until the mark is complete or they are used up. How many were taken; -1: an empty
 * fragment, which would be legal, but says nothing, and could go on for ever.
 */
ptrdiff_t codec_mark(struct codec_fragment *f, const uint8_t *bytes, size_t len);

enum codec_outcome {
    CODEC_DONE,    /* the results are valid */
    CODEC_STATUS,  /* the server says no: `status` */
    CODEC_AUTH,    /* our credential is refused */
    CODEC_FOREIGN, /* it does not know this version, procedure or these arguments */
};

struct codec_reply {
    enum codec_outcome outcome;
    uint32_t status; /* nfsstat3 */
    uint32_t count;  /* of READ and WRITE; of READ, the length of the payload */
    bool eof;        /* of READ: the payload ends where the file does */
    bool stable;     /* of WRITE: durable, whichever way */
    uint8_t verifier[CODEC_VERIFIER_BYTES]; /* of WRITE and COMMIT */
};

/* Whose reply a record is, by its first CODEC_XID_BYTES. -1: it is no reply. */
int codec_reply_xid(const uint8_t *record, uint32_t *xid);

/*
 * The head of a reply to `proc`, of whose record there are `len` bytes so far. Its length, and then
 * *reply is valid; or, when that is more than `len`, how many bytes are needed to say more, at most
 * CODEC_REPLY_MAX; -1: malformed, whatever may follow.
 */
ptrdiff_t codec_reply_head(enum codec_proc proc, const uint8_t *record, size_t len,
                           struct codec_reply *reply);

#endif
