/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Formats besides qcow2 (core/relocate/image_format.h) whose images can name other files: vmdk and qed.
 * Only those names are of interest here. As a guest can write such a header to a raw disk, no name
 * is followed because of them; they only tell that something may be missing.
 */
#ifndef CORE_RELOCATE_IMAGE_OTHER_H
#define CORE_RELOCATE_IMAGE_OTHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* As it is in the image: its base, or else a part of the image itself. False: that is enough. */
typedef bool image_other_name(void *arg, const char *name, bool backing);

/*
 * `head` is the file's first `len` bytes (IMAGE_FORMAT_HEAD_BYTES, or all of it). Calls `fn` for each file
 * that it names; the name of the format, or NULL: it is none of these. Formats: QEMU's
 * docs/interop/qed_spec.txt and block/vmdk.c (VMware's Virtual Disk Format 5.0).
 */
const char *image_other_names(const uint8_t *head, size_t len, image_other_name *fn, void *arg);

#endif
