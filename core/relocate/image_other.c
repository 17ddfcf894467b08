/* SPDX-License-Identifier: Apache-2.0 */
#include "core/relocate/image_other.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/relocate/image_format.h"

#define QED_HAS_BACKING (UINT64_C(1) << 0)

enum { QED_HEADER_BYTES = 64, VMDK_SECTOR_BYTES = 512, VMDK_HEADER_BYTES = 512 };

static const char vmdk_text[] = "# Disk DescriptorFile";

static uint32_t le32_at(const uint8_t *p, size_t offset)
{
    uint32_t value;
    memcpy(&value, p + offset, sizeof value);
    return le32toh(value);
}

static uint64_t le64_at(const uint8_t *p, size_t offset)
{
    uint64_t value;
    memcpy(&value, p + offset, sizeof value);
    return le64toh(value);
}

static bool other_tell(const char *from, size_t len, bool backing, image_other_name *fn, void *arg)
{
    CLEANUP_FREE char *name = strndup(from, len);
    return len == 0 || name == NULL || fn(arg, name, backing);
}

/* Its name stands behind the header. */
static void qed_names(const uint8_t *head, size_t len, image_other_name *fn, void *arg)
{
    if (len < QED_HEADER_BYTES || (le64_at(head, 16) & QED_HAS_BACKING) == 0)
        return;
    uint32_t at = le32_at(head, 56), bytes = le32_at(head, 60);
    if (at > len || bytes > len - at) /* where it is not, it may be anything */
        fn(arg, "(a name that is not in its header)", true);
    else
        other_tell((const char *)head + at, bytes, true, fn, arg);
}

/* In quotes, of a line. */
static bool vmdk_quoted(const char *line, size_t len, bool backing, image_other_name *fn, void *arg)
{
    const char *from = memchr(line, '"', len);
    const char *to = from != NULL ? memchr(from + 1, '"', len - (size_t)(from + 1 - line)) : NULL;
    return to == NULL || other_tell(from + 1, (size_t)(to - from - 1), backing, fn, arg);
}

static bool vmdk_is(const char *line, size_t len, const char *word)
{
    return len >= strlen(word) && strncmp(line, word, strlen(word)) == 0;
}

/*
 * parentFileNameHint="base.vmdk" of an overlay, and RW 4192256 SPARSE "part.vmdk" of an image in several
 * files. A descriptor inside of an image has such a line about the image itself.
 */
static void vmdk_lines(const char *text, size_t len, bool inside, image_other_name *fn, void *arg)
{
    for (const char *end = text + len; text < end;) {
        const char *next = memchr(text, '\n', (size_t)(end - text));
        size_t line = (size_t)((next != NULL ? next : end) - text);
        bool parent = vmdk_is(text, line, "parentFileNameHint");
        bool part = !inside && (vmdk_is(text, line, "RW ") || vmdk_is(text, line, "RDONLY "));
        if ((parent || part) && !vmdk_quoted(text, line, parent, fn, arg))
            return;
        text += line + (next != NULL);
    }
}

static void vmdk_sparse(const uint8_t *head, size_t len, image_other_name *fn, void *arg)
{
    if (len < VMDK_HEADER_BYTES)
        return;
    uint64_t at = le64_at(head, 28), sectors = le64_at(head, 36);
    if (at == 0 || sectors == 0) /* a part of another image: that one names it */
        return;
    if (at > len / VMDK_SECTOR_BYTES) {
        fn(arg, "(a name that is not in its header)", true);
        return;
    }
    size_t from = (size_t)at * VMDK_SECTOR_BYTES, room = len - from;
    if (sectors < room / VMDK_SECTOR_BYTES)
        room = (size_t)sectors * VMDK_SECTOR_BYTES;
    vmdk_lines((const char *)head + from, strnlen((const char *)head + from, room), true, fn, arg);
}

const char *image_other_names(const uint8_t *head, size_t len, image_other_name *fn, void *arg)
{
    if (len >= 4 && memcmp(head, "QED", 4) == 0) {
        qed_names(head, len, fn, arg);
        return "qed";
    }
    if (len >= 4 && memcmp(head, "KDMV", 4) == 0) {
        vmdk_sparse(head, len, fn, arg);
        return "vmdk";
    }
    if (len >= sizeof vmdk_text - 1 && memcmp(head, vmdk_text, sizeof vmdk_text - 1) == 0) {
        vmdk_lines((const char *)head, strnlen((const char *)head, len), false, fn, arg);
        return "vmdk";
    }
    return NULL;
}
