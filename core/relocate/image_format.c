/* SPDX-License-Identifier: Apache-2.0 */
#include "core/relocate/image_format.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"

/* QEMU's own limits. */
enum {
    CLUSTER_BITS_MIN = 9,
    CLUSTER_BITS_MAX = 21,
    EXTENDED_L2_CLUSTER_BITS_MIN = 14,
    L1_BYTES_MAX = 32 << 20,
    REFCOUNT_TABLE_BYTES_MAX = 8 << 20,
    SNAPSHOTS_MAX = 65536,
    BITMAPS_MAX = 65535,
    CRYPT_METHOD_MAX = 2,
    REFCOUNT_ORDER_MAX = 6,
    COMPRESSION_TYPE_MAX = 1,
};

enum { HEADER_V2_BYTES = 72, HEADER_V3_BYTES = 104, COMPRESSION_TYPE_AT = 104 };

#define INCOMPATIBLE_DIRTY (UINT64_C(1) << 0)
#define INCOMPATIBLE_CORRUPT (UINT64_C(1) << 1)
#define INCOMPATIBLE_EXTERNAL_DATA (UINT64_C(1) << 2)
#define INCOMPATIBLE_COMPRESSION (UINT64_C(1) << 3)
#define INCOMPATIBLE_EXTENDED_L2 (UINT64_C(1) << 4)
#define INCOMPATIBLE_KNOWN (UINT64_C(0x1f))

#define AUTOCLEAR_BITMAPS (UINT64_C(1) << 0)

#define EXTENSION_END 0u
#define EXTENSION_BACKING_FORMAT 0xe2792acau
#define EXTENSION_BITMAPS 0x23852875u
#define EXTENSION_DATA_FILE 0x44415441u

enum { BITMAPS_EXTENSION_BYTES = 24 };

static const uint8_t magic[4] = {'Q', 'F', 'I', 0xfb};

/* The header while it is read. */
struct qcow2 {
    const uint8_t *head;
    size_t len;
    uint64_t file_bytes;
    unsigned cluster_bits;
    uint64_t cluster_bytes;
    uint32_t header_bytes;
    uint64_t incompatible, autoclear;
    uint64_t first_end; /* of the first cluster, or of the bytes that we have */
    struct image_format *f;
    struct err *e;
};

static uint32_t be32_at(const uint8_t *p, uint64_t offset)
{
    uint32_t value;
    memcpy(&value, p + offset, sizeof value);
    return be32toh(value);
}

static uint64_t be64_at(const uint8_t *p, uint64_t offset)
{
    uint64_t value;
    memcpy(&value, p + offset, sizeof value);
    return be64toh(value);
}

__attribute__((format(printf, 2, 3))) static int qcow2_refuse(struct qcow2 *q, const char *fmt, ...)
{
    char why[160];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    err_set(q->e, ERR_REFUSED, 0, "begins like qcow2, but %s", why);
    return err_hint(q->e, "--format=raw moves it as it is");
}

/* Names go to the terminal, and are compared as C strings. */
static int qcow2_name(struct qcow2 *q, char *to, size_t size, uint64_t at, uint64_t len,
                      const char *what)
{
    if (len == 0 || len >= size)
        return qcow2_refuse(q, "its %s has %" PRIu64 " bytes", what, len);
    for (uint64_t i = 0; i < len; i++)
        if (q->head[at + i] < ' ' || q->head[at + i] == 0x7f)
            return qcow2_refuse(q, "its %s has control characters", what);
    memcpy(to, q->head + at, len);
    to[len] = '\0';
    return 0;
}

static int qcow2_read_base(struct qcow2 *q)
{
    if (q->len < HEADER_V2_BYTES)
        return qcow2_refuse(q, "its header is cut off");
    q->f->version = be32_at(q->head, 4);
    if (q->f->version != 2 && q->f->version != 3)
        return qcow2_refuse(q, "it has version %u", q->f->version);

    q->cluster_bits = be32_at(q->head, 20);
    if (q->cluster_bits < CLUSTER_BITS_MIN || q->cluster_bits > CLUSTER_BITS_MAX)
        return qcow2_refuse(q, "its clusters have 2^%u bytes", q->cluster_bits);
    q->cluster_bytes = UINT64_C(1) << q->cluster_bits;
    q->first_end = q->cluster_bytes < q->len ? q->cluster_bytes : q->len;

    if (be32_at(q->head, 32) > CRYPT_METHOD_MAX)
        return qcow2_refuse(q, "its encryption method is %" PRIu32, be32_at(q->head, 32));
    q->header_bytes = HEADER_V2_BYTES;
    q->f->virtual_bytes = be64_at(q->head, 24);
    q->f->cluster_bytes = (uint32_t)q->cluster_bytes;
    return 0;
}

static int qcow2_read_version_3(struct qcow2 *q)
{
    if (q->first_end < HEADER_V3_BYTES)
        return qcow2_refuse(q, "its header is cut off");
    q->incompatible = be64_at(q->head, 72);
    q->autoclear = be64_at(q->head, 88);
    q->header_bytes = be32_at(q->head, 100);
    if (be32_at(q->head, 96) > REFCOUNT_ORDER_MAX)
        return qcow2_refuse(q, "its refcounts have 2^%" PRIu32 " bits", be32_at(q->head, 96));
    if (q->header_bytes < HEADER_V3_BYTES || q->header_bytes % 8 != 0 ||
        q->header_bytes > q->first_end)
        return qcow2_refuse(q, "its header has %" PRIu32 " bytes", q->header_bytes);
    if ((q->incompatible & ~INCOMPATIBLE_KNOWN) != 0)
        return qcow2_refuse(q, "it needs features that are not known, 0x%" PRIx64,
                            q->incompatible & ~INCOMPATIBLE_KNOWN);
    if ((q->incompatible & INCOMPATIBLE_EXTENDED_L2) != 0 &&
        q->cluster_bits < EXTENDED_L2_CLUSTER_BITS_MIN)
        return qcow2_refuse(q, "its clusters of 2^%u bytes are too small for subclusters",
                            q->cluster_bits);

    uint8_t compression = q->header_bytes > COMPRESSION_TYPE_AT ? q->head[COMPRESSION_TYPE_AT] : 0;
    bool said = (q->incompatible & INCOMPATIBLE_COMPRESSION) != 0;
    if (compression > COMPRESSION_TYPE_MAX || (compression != 0) != said)
        return qcow2_refuse(q, "its compression type is %u", compression);

    q->f->dirty = (q->incompatible & INCOMPATIBLE_DIRTY) != 0;
    q->f->corrupt = (q->incompatible & INCOMPATIBLE_CORRUPT) != 0;
    q->f->external_data = (q->incompatible & INCOMPATIBLE_EXTERNAL_DATA) != 0;
    return 0;
}

/* A table that is there: behind the header, on a cluster, and in the file. */
static int qcow2_check_table(struct qcow2 *q, uint64_t at, uint64_t len, const char *what)
{
    if (at == 0 || at % q->cluster_bytes != 0)
        return qcow2_refuse(q, "its %s is at 0x%" PRIx64, what, at);
    if (at > q->file_bytes || len > q->file_bytes - at)
        return qcow2_refuse(q, "its %s at 0x%" PRIx64 " is outside of the file", what, at);
    return 0;
}

static int qcow2_check_tables(struct qcow2 *q)
{
    uint64_t l1_entries = be32_at(q->head, 36);
    uint64_t refcount_clusters = be32_at(q->head, 56);
    uint64_t snapshots = be32_at(q->head, 60);

    /* an entry of L1 stands for a cluster full of entries of L2 of 8 bytes, or of 16 */
    unsigned l2_entry_bits = (q->incompatible & INCOMPATIBLE_EXTENDED_L2) != 0 ? 4 : 3;
    unsigned l1_shift = 2 * q->cluster_bits - l2_entry_bits;
    uint64_t size = q->f->virtual_bytes;
    uint64_t needed = (size >> l1_shift) + ((size & ((UINT64_C(1) << l1_shift) - 1)) != 0);
    if (l1_entries < needed || l1_entries > L1_BYTES_MAX / 8)
        return qcow2_refuse(q, "%" PRIu64 " L1 entries are not right for its size, %" PRIu64,
                            l1_entries, size);
    if (l1_entries > 0 &&
        qcow2_check_table(q, be64_at(q->head, 40), l1_entries * 8, "L1 table") < 0)
        return -1;

    if (refcount_clusters == 0 ||
        refcount_clusters > (uint64_t)REFCOUNT_TABLE_BYTES_MAX >> q->cluster_bits)
        return qcow2_refuse(q, "its refcount table has %" PRIu64 " clusters", refcount_clusters);
    if (qcow2_check_table(q, be64_at(q->head, 48), refcount_clusters << q->cluster_bits,
                          "refcount table") < 0)
        return -1;

    if (snapshots > SNAPSHOTS_MAX)
        return qcow2_refuse(q, "it has %" PRIu64 " snapshots", snapshots);
    q->f->snapshots = (uint32_t)snapshots;
    return snapshots == 0 ? 0 : qcow2_check_table(q, be64_at(q->head, 64), 1, "snapshot table");
}

static int qcow2_read_backing(struct qcow2 *q)
{
    uint64_t at = be64_at(q->head, 8), len = be32_at(q->head, 16);
    if (at == 0)
        return 0;
    if (len > IMAGE_FORMAT_NAME_MAX || at < q->header_bytes || at > q->first_end ||
        len > q->first_end - at)
        return qcow2_refuse(q, "its backing name is not in the first cluster");
    return qcow2_name(q, q->f->backing, sizeof q->f->backing, at, len, "backing name");
}

static int qcow2_read_bitmaps(struct qcow2 *q, uint64_t at, uint64_t len)
{
    if ((q->autoclear & AUTOCLEAR_BITMAPS) == 0)
        return 0; /* they are out of date, and QEMU will drop them */
    if (len != BITMAPS_EXTENSION_BYTES)
        return qcow2_refuse(q, "its bitmaps extension has %" PRIu64 " bytes", len);
    uint32_t n = be32_at(q->head, at);
    if (n == 0 || n > BITMAPS_MAX)
        return qcow2_refuse(q, "it has %" PRIu32 " bitmaps", n);
    q->f->bitmaps = n;
    return 0;
}

static int qcow2_read_extension(struct qcow2 *q, uint32_t type, uint64_t at, uint64_t len)
{
    struct image_format *f = q->f;
    if (type == EXTENSION_BACKING_FORMAT)
        return qcow2_name(q, f->backing_format, sizeof f->backing_format, at, len,
                          "backing format");
    if (type == EXTENSION_BITMAPS)
        return qcow2_read_bitmaps(q, at, len);
    if (type == EXTENSION_DATA_FILE && f->external_data)
        return qcow2_name(q, f->data_file, sizeof f->data_file, at, len, "data file's name");
    return 0;
}

/* They stand between the header and the backing name, or the end of the first cluster. */
static int qcow2_read_extensions(struct qcow2 *q)
{
    uint64_t end = be64_at(q->head, 8) != 0 ? be64_at(q->head, 8) : q->first_end;
    uint64_t at = q->header_bytes;
    while (end - at >= 8) {
        uint32_t type = be32_at(q->head, at);
        uint64_t len = be32_at(q->head, at + 4);
        at += 8;
        if (type == EXTENSION_END)
            return 0;
        if (len > end - at)
            return qcow2_refuse(q, "its header extension 0x%" PRIx32 " is too long", type);
        if (qcow2_read_extension(q, type, at, len) < 0)
            return -1;
        len = (len + 7) & ~UINT64_C(7);
        if (len > end - at)
            break;
        at += len;
    }
    return 0; /* QEMU takes them to end there, too */
}

int image_format_read(const uint8_t *head, size_t len, uint64_t file_bytes,
                      enum image_format_ask ask, struct image_format *f, struct err *e)
{
    *f = (struct image_format){.kind = IMAGE_FORMAT_RAW};
    if (ask == IMAGE_FORMAT_ASK_RAW)
        return 0;
    if (len < sizeof magic || memcmp(head, magic, sizeof magic) != 0) {
        if (ask == IMAGE_FORMAT_ASK_PROBE)
            return 0;
        return err_set(e, ERR_REFUSED, 0, "is not qcow2: it begins with other bytes");
    }

    struct qcow2 q = {.head = head, .len = len, .file_bytes = file_bytes, .f = f, .e = e};
    f->kind = IMAGE_FORMAT_QCOW2;
    f->follow = ask == IMAGE_FORMAT_ASK_QCOW2;
    if (qcow2_read_base(&q) < 0 || (f->version == 3 && qcow2_read_version_3(&q) < 0) ||
        qcow2_check_tables(&q) < 0 || qcow2_read_backing(&q) < 0 || qcow2_read_extensions(&q) < 0)
        return -1;
    return 0;
}

int image_format_check_whole(const struct image_format *f, struct err *e)
{
    if (f->external_data) {
        err_set(e, ERR_REFUSED, 0, "its data are in another file, '%s'", f->data_file);
        return err_hint(e, "merge them with qemu-img convert, or move both with --format=raw");
    }
    if (f->backing[0] != '\0' && !f->follow) {
        err_set(e, ERR_REFUSED, 0, "looks like qcow2 with a backing file, '%s'", f->backing);
        return err_hint(e, "--format=qcow2 moves the whole chain, --format=raw this file alone");
    }
    return 0;
}

/* ---- the backing file ---- */

int image_format_ask_backing(const struct image_format *f, enum image_format_ask *ask,
                             struct err *e)
{
    if (f->backing_format[0] == '\0')
        *ask = IMAGE_FORMAT_ASK_PROBE;
    else if (strcmp(f->backing_format, "qcow2") == 0)
        *ask = IMAGE_FORMAT_ASK_QCOW2;
    else if (strcmp(f->backing_format, "raw") == 0)
        *ask = IMAGE_FORMAT_ASK_RAW;
    else
        return err_set(e, ERR_REFUSED, 0, "its backing file is of format %s, not qcow2 or raw",
                       f->backing_format);
    return 0;
}

/* Puts `part`, of `len` bytes, onto name `to`; -1: it leads out of the place. */
static int image_format_walk(char *to, const char *part, size_t len)
{
    if (len == 0 || (len == 1 && part[0] == '.'))
        return 0;
    if (len == 2 && part[0] == '.' && part[1] == '.') {
        if (to[0] == '\0')
            return -1;
        char *slash = strrchr(to, '/');
        *(slash != NULL ? slash : to) = '\0';
        return 0;
    }
    size_t n = strlen(to);
    if (n > 0)
        to[n++] = '/';
    memcpy(to + n, part, len);
    to[n + len] = '\0';
    return 0;
}

bool image_format_is_protocol(const char *backing)
{
    return backing[strcspn(backing, ":/")] == ':';
}

char *image_format_backing_path(const char *path, const char *backing)
{
    char *full = NULL;
    const char *slash = strrchr(path, '/');
    if (*backing == '\0' || image_format_is_protocol(backing) || slash == NULL)
        return NULL;
    if (*backing == '/')
        return strdup(backing);
    return asprintf(&full, "%.*s/%s", (int)(slash - path), path, backing) < 0 ? NULL : full;
}

static int image_format_refuse_backing(struct err *e, const char *backing, const char *why,
                                       const char *hint)
{
    err_set(e, ERR_REFUSED, 0, "its backing name '%s' %s", backing, why);
    return err_hint(e, "%s", hint);
}

/* What can be done about a backing name that would not resolve in a new place. The operator alone
 * knows whether the bytes are a guest's, which may have written that name to have a file read. */
#define ALONE "--format=raw moves this file alone, and leaves that name in it"
static const char rebase[] =
    "if it is a qcow2 image whose base lies beside it, 'qemu-img rebase -u -F FORMAT -b NAME IMAGE' "
    "gives it a relative name; " ALONE;
static const char flatten[] =
    "if it is a qcow2 image, 'qemu-img rebase -b \"\" IMAGE' takes the data of its base into it; " ALONE;
static const char widen[] = "--recursive with a directory that holds both moves both; " ALONE;

/* Whether a name can mean a file beside the overlay. */
static int image_format_check_backing(const char *backing, struct err *e)
{
    size_t len = strlen(backing);
    if (backing[0] == '/')
        return image_format_refuse_backing(
            e, backing, "is absolute: it would still name the old place", rebase);
    if (image_format_is_protocol(backing)) {
        bool json = strncmp(backing, "json:", 5) == 0, file = strncmp(backing, "file:", 5) == 0;
        return image_format_refuse_backing(
            e, backing, json ? "is a description, not a name" : "names a protocol",
            file ? rebase : flatten);
    }
    if (len == 0 || backing[len - 1] == '/' || strcmp(backing, ".") == 0 ||
        strcmp(backing, "..") == 0 || (len > 1 && strcmp(backing + len - 2, "/.") == 0) ||
        (len > 2 && strcmp(backing + len - 3, "/..") == 0))
        return image_format_refuse_backing(e, backing, "is no file's", rebase);
    return 0;
}

char *image_format_backing_new(const char *overlay, const char *backing, struct err *e)
{
    if (image_format_check_backing(backing, e) < 0)
        return NULL;
    const char *slash = strrchr(overlay, '/');
    size_t dir_bytes = slash != NULL ? (size_t)(slash - overlay) : 0;
    CLEANUP_FREE char *name = malloc(dir_bytes + 1 + strlen(backing) + 1);
    if (name == NULL) {
        err_set(e, ERR_IO, ENOMEM, "cannot allocate the backing name");
        return NULL;
    }
    memcpy(name, overlay, dir_bytes);
    name[dir_bytes] = '\0';
    for (const char *part = backing; *part != '\0'; part += strspn(part, "/")) {
        size_t len = strcspn(part, "/");
        if (image_format_walk(name, part, len) < 0) {
            image_format_refuse_backing(e, backing, "leads out of the place that is moved", widen);
            return NULL;
        }
        part += len;
    }
    if (strcmp(name, overlay) == 0) {
        image_format_refuse_backing(e, backing, "is its own", "the chain is broken; " ALONE);
        return NULL;
    }
    return TAKE(name);
}
