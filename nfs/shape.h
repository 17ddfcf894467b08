/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether an answer has the shape that its procedure gives it: ONC RPC (RFC 5531) with the results of
 * NFSv3 and MOUNT version 3 (RFC 1813). Pure functions, no I/O, nothing allocated.
 *
 * libnfs decodes what it is given. Up to 5.0 it adds a length from 2 GiB on to its position as a negative
 * number, multiplies a count of elements without a look at the product, takes a message that is no reply
 * for one, and goes one call deeper for each element of a list: the process ends, or worse. What has
 * passed here does none of that.
 */
#ifndef NFS_SHAPE_H
#define NFS_SHAPE_H

#include <stddef.h>
#include <stdint.h>

enum shape_program { SHAPE_MOUNT = 100005, SHAPE_NFS = 100003 };

enum {
    SHAPE_ELEMENTS_MAX =
        8192, /* of all lists of an answer together: of 64 KiB of names there are less */
    SHAPE_HEAD_BYTES = 8, /* what codec_reply_xid() needs */
    SHAPE_STRAYS_MAX =
        1000, /* answers in a row to nothing that was asked: else that would have no end */
};

enum shape_outcome {
    SHAPE_RESULTS,  /* whatever they say */
    SHAPE_AUTH,     /* our credential is refused */
    SHAPE_FOREIGN,  /* program, version, procedure or arguments are not known there */
    SHAPE_NONSENSE, /* no such answer */
};

/* Looks at the answer to a call of version 3 of `program`, without its record mark. *why: for
 * SHAPE_NONSENSE what is wrong with it: "has a length beyond its end". */
enum shape_outcome shape_check(enum shape_program program, uint32_t proc, const uint8_t *record,
                               size_t len, const char **why);

/* "80 00 00 1c …", or the text if it is one: "\"HTTP/1.1 400 Ba…\"". */
enum { SHAPE_SHOWN = 80 };
void shape_show(char text[SHAPE_SHOWN], const void *bytes, size_t len);

#endif
