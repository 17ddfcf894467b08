/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an image's first bytes say about it: raw, or qcow2 with what else belongs to it.
 *
 * All images move as bytes; the format only tells whether a file is all there is to move. Who may
 * say so is a matter of safety. The bytes of a raw disk are the guest's: it can write a qcow2
 * header there whose backing name is any file of this host. So
 *
 *   IMAGE_FORMAT_ASK_RAW    (--format=raw) the bytes are not looked at
 *   IMAGE_FORMAT_ASK_QCOW2  (--format=qcow2) it must be qcow2, and its backing name is followed
 *   IMAGE_FORMAT_ASK_PROBE  strict probing; a name that was found so is only reported,
 *                           and no other file is opened for it
 *
 * and `follow` of the result is true in the second case alone. In a chain each overlay says how its
 * backing file is to be asked for, and is trusted in that, as it was itself asked for as qcow2.
 *
 * Strict: what begins with the magic, but is not a qcow2 that QEMU would open by its header, is an
 * error and not raw. Format: docs/interop/qcow2 of QEMU; limits: block/qcow2.h there.
 */
#ifndef CORE_RELOCATE_IMAGE_FORMAT_H
#define CORE_RELOCATE_IMAGE_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"

enum {
    IMAGE_FORMAT_HEAD_BYTES = 65536, /* as much of the file is asked for, if it has so much */
    IMAGE_FORMAT_NAME_MAX = 1023,
};

enum image_format_ask { IMAGE_FORMAT_ASK_PROBE, IMAGE_FORMAT_ASK_RAW, IMAGE_FORMAT_ASK_QCOW2 };

struct image_format {
    enum { IMAGE_FORMAT_RAW, IMAGE_FORMAT_QCOW2 } kind;

    /* The rest is of qcow2, else 0. */
    bool follow;            /* its backing name may be followed */
    unsigned version;       /* 2, 3 */
    uint64_t virtual_bytes; /* the size that the guest sees */
    uint32_t cluster_bytes;
    uint32_t snapshots, bitmaps;
    bool dirty, corrupt;                       /* as it says of itself */
    bool external_data;                        /* the guest's data are in another file: */
    char data_file[IMAGE_FORMAT_NAME_MAX + 1]; /* "": its name is in no image */
    char backing[IMAGE_FORMAT_NAME_MAX + 1];   /* "": none */
    char backing_format[16];                   /* "": not said */
};

/* `head` is the file's first `len` bytes, IMAGE_FORMAT_HEAD_BYTES or all of it. All errors here are
 * without the file's name. */
int image_format_read(const uint8_t *head, size_t len, uint64_t file_bytes,
                      enum image_format_ask ask, struct image_format *f, struct err *e);

/*
 * 0: the file, with its backing chain where that is followed, is all there is. -1 (ERR_REFUSED): it
 * names a file that would stay behind. An external data file always does: QEMU looks for a relative
 * name of one in its working directory, so that no place of it would be right.
 */
int image_format_check_whole(const struct image_format *f, struct err *e);

/* How the backing file of `f` is to be asked for: as the overlay says, or probed if it does not.
 * -1 (ERR_REFUSED): it is of a format that may have backing files which we can't see. */
int image_format_ask_backing(const struct image_format *f, enum image_format_ask *ask,
                             struct err *e);

/*
 * The name in the same place (core/store/store.h) of what image `overlay` there names as its backing
 * file: relative to the directory of the overlay's name, as in QEMU. Only ".." is taken by its
 * letters, where the kernel would go to the parent of what a symbolic link points to. To be freed.
 * NULL (ERR_REFUSED): it would not resolve in a new place, being absolute, a protocol, no file, or
 * outside of the place.
 */
char *image_format_backing_new(const char *overlay, const char *backing, struct err *e);

/* Whether a backing name begins with a protocol: "json:", "file:", "nbd://", … */
bool image_format_is_protocol(const char *backing);

/* What the image at `path` is based on, as a path of this host. free() it; NULL: nothing, a protocol,
 * or no memory. */
char *image_format_backing_path(const char *path, const char *backing);

#endif
