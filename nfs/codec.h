/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is spoken on the data path, as bytes: WRITE and COMMIT of NFSv3 (RFC 1813) in ONC RPC
 * (RFC 5531) with AUTH_SYS, records marked as over TCP. Pure functions, no I/O, nothing allocated.
 *
 * A WRITE call is its head, the payload from where it lies, and codec_pad() zero bytes. A COMMIT
 * call is its head alone.
 */
#ifndef NFS_CODEC_H
#define NFS_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CODEC_FH_MAX = 64,      /* RFC 1813, NFS3_FHSIZE */
    CODEC_MACHINE_MAX = 32, /* longer names are cut */
    CODEC_CALL_MAX = 192,   /* the longest head */
    CODEC_REPLY_MAX = 1024, /* a longer reply to either is none of ours */
    CODEC_VERIFIER_BYTES = 8,
};

struct codec_cred {
    uint32_t uid, gid;
    const char *machine;
};

struct codec_fh {
    const void *val;
    uint32_t len; /* at most CODEC_FH_MAX */
};

/* Writes a head; its length in bytes. */
size_t codec_write_call(uint8_t head[CODEC_CALL_MAX], uint32_t xid, const struct codec_cred *cred,
                        struct codec_fh fh, uint64_t offset, uint32_t count, bool file_sync);
size_t codec_commit_call(uint8_t head[CODEC_CALL_MAX], uint32_t xid, const struct codec_cred *cred,
                         struct codec_fh fh, uint64_t offset, uint32_t count);

/* How many zero bytes follow a payload of `count`. */
uint32_t codec_pad(uint32_t count);

/*
 * Records out of a stream that comes in pieces. Zeroed before the first use, and again after each
 * record that was looked at.
 */
struct codec_reader {
    uint8_t record[CODEC_REPLY_MAX];
    uint32_t len;           /* of the record, so far */
    uint32_t fragment_left; /* of the fragment, still to come */
    uint8_t mark[4];
    uint8_t mark_len;
    bool last;  /* the fragment is the record's last */
    bool whole; /* the record is */
};

/*
 * Takes bytes until the record is whole or they are used up. How many were taken; -1: a record that
 * is empty or longer than CODEC_REPLY_MAX, nothing more can be made of this stream.
 */
ptrdiff_t codec_read(struct codec_reader *r, const uint8_t *bytes, size_t len);

enum codec_outcome {
    CODEC_DONE,    /* the results are valid */
    CODEC_STATUS,  /* the server says no: `status` */
    CODEC_AUTH,    /* our credential is refused */
    CODEC_FOREIGN, /* it does not know this version, procedure or these arguments */
};

struct codec_reply {
    enum codec_outcome outcome;
    uint32_t status; /* nfsstat3 */
    /* Of WRITE: */
    uint32_t count;
    bool stable; /* durable, whichever way */
    /* Of both: */
    uint8_t verifier[CODEC_VERIFIER_BYTES];
};

/* Whose reply a record is. -1: it is no reply. */
int codec_reply_xid(const uint8_t *record, size_t len, uint32_t *xid);

/* The rest of it. -1: malformed. Bytes after the results are ignored, as is usual. */
int codec_write_reply(const uint8_t *record, size_t len, struct codec_reply *reply);
int codec_commit_reply(const uint8_t *record, size_t len, struct codec_reply *reply);

#endif
