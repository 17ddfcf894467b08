/* SPDX-License-Identifier: Apache-2.0 */
#include "core/pool/place.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/owner.h"
#include "core/relocate/journal.h"
#include "core/relocate/part_name.h"
#include "core/text.h"
#include "core/pool/path_text.h"

/* An NFS client may have looked a name up before, and believes for so long that it is not there. */
#define MOUNT_CACHE_NS (65 * NS_PER_S)
#define MOUNT_AGAIN_NS (200 * NS_PER_MS)

enum { PLACE_CHAIN_MAX = 64 }; /* as core/relocate/chain.c */

int pool_place_open(struct pool_place *p, const char *path, struct err *e)
{
    struct stat st;
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/')
        len--;
    p->path = strndup(path, len);
    p->real = realpath(path, NULL);
    if (p->path == NULL || p->real == NULL || stat(p->real, &st) < 0)
        return err_set(e, ERR_REFUSED, errno, "%s", path);
    if (!S_ISDIR(st.st_mode) || p->real[1] == '\0')
        return err_set(e, ERR_REFUSED, 0, "%s: is no directory that could be moved", path);
    p->device = st.st_dev;
    p->inode = st.st_ino;
    return 0;
}

void pool_place_close(struct pool_place *p)
{
    free(p->path);
    free(p->real);
}

/* ---- names ---- */

/* The path without doubled slashes and "."; NULL: it has a "..", whose meaning links decide. */
static char *place_tidy(const char *path)
{
    char *tidy = malloc(strlen(path) + 2), *to = tidy;
    while (tidy != NULL && *path != '\0') {
        path += strspn(path, "/");
        size_t len = strcspn(path, "/");
        if (len == 2 && strncmp(path, "..", 2) == 0) {
            free(tidy);
            return NULL;
        }
        if (len > 0 && !(len == 1 && *path == '.')) {
            *to++ = '/';
            memcpy(to, path, len);
            to += len;
        }
        path += len;
    }
    if (tidy != NULL)
        *to = '\0';
    return tidy;
}

static char *place_below(const char *directory, const char *path)
{
    size_t len = strlen(directory);
    if (strncmp(path, directory, len) != 0 || (path[len] != '/' && path[len] != '\0'))
        return NULL;
    return strdup(path[len] == '/' ? path + len + 1 : "");
}

/* What is not there yet is in a directory that is. */
static char *place_real(const char *path)
{
    char *real = realpath(path, NULL);
    const char *slash = strrchr(path, '/');
    if (real != NULL || slash == NULL || slash == path)
        return real;
    CLEANUP_FREE char *parent = strndup(path, (size_t)(slash - path));
    CLEANUP_FREE char *directory = parent != NULL ? realpath(parent, NULL) : NULL;
    if (directory == NULL || asprintf(&real, "%s%s", directory, slash) < 0)
        return NULL;
    return real;
}

/* The pool's directory may be mounted in more than one place. */
static char *place_bound(const struct pool_place *p, const char *real)
{
    CLEANUP_FREE char *at = strdup(real);
    struct stat st;
    for (size_t len = strlen(real); at != NULL && len > 0;) {
        at[len] = '\0';
        if (stat(at, &st) == 0 && st.st_dev == p->device && st.st_ino == p->inode)
            return strdup(real[len] == '/' ? real + len + 1 : "");
        do
            len--;
        while (len > 0 && at[len] != '/');
    }
    return NULL;
}

/* By its letters, and else by where links and mounts lead. */
char *pool_place_name(void *arg, const char *path)
{
    const struct pool_place *p = arg;
    if (*path != '/')
        return NULL;
    CLEANUP_FREE char *tidy = place_tidy(path);
    char *name = tidy != NULL ? place_below(p->path, tidy) : NULL;
    if (name != NULL)
        return name;
    CLEANUP_FREE char *real = place_real(path);
    name = real != NULL ? place_below(p->real, real) : NULL;
    return name == NULL && real != NULL ? place_bound(p, real) : name;
}

static char *place_path(const struct pool_place *p, const char *name)
{
    char *path = NULL;
    return asprintf(&path, "%s/%s", p->path, name) < 0 ? NULL : path;
}

/* ---- what images say of themselves ---- */

static int place_format(const char *path, enum image_format_ask ask, struct image_format *f,
                        struct err *e)
{
    CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    CLEANUP_FREE uint8_t *head = malloc(IMAGE_FORMAT_HEAD_BYTES);
    struct stat st;
    if (fd < 0 || head == NULL || fstat(fd, &st) < 0)
        return err_set(e, ERR_REFUSED, errno, "%s", path);
    ssize_t len = pread(fd, head, IMAGE_FORMAT_HEAD_BYTES, 0);
    if (len < 0)
        return err_set(e, ERR_REFUSED, errno, "%s", path);
    if (image_format_read(head, (size_t)len, (uint64_t)st.st_size, ask, f, e) < 0)
        return err_wrap(e, "%s", path);
    return 0;
}

/* The name in the pool of what image `name` is based on; NULL: it is outside of the pool. */
static char *place_backing(const struct pool_place *p, const char *name, const char *backing)
{
    struct err why = {0};
    if (*backing == '/')
        return pool_place_name((void *)(uintptr_t)p, backing);
    return image_format_backing_new(name, backing, &why);
}

int pool_place_image(void *arg, const char *name, bool qcow2, struct domain_image *i, struct err *e)
{
    const struct pool_place *p = arg;
    CLEANUP_FREE char *path = place_path(p, name);
    struct stat st = {0};
    *i = (struct domain_image){0};
    if (path == NULL)
        return err_set(e, ERR_IO, ENOMEM, "%s", name);
    if (stat(path, &st) < 0)
        return err_set(e, ERR_REFUSED, errno, "%s", path);
    i->uid = st.st_uid;
    i->gid = st.st_gid;
    if (!qcow2)
        return 0;
    CLEANUP_FREE struct image_format *f = malloc(sizeof *f);
    if (f == NULL)
        return err_set(e, ERR_IO, ENOMEM, "%s", path);
    if (place_format(path, IMAGE_FORMAT_ASK_QCOW2, f, e) < 0)
        return -1;
    if (f->backing[0] == '\0')
        return 0;
    i->backing = place_backing(p, name, f->backing);
    i->format = f->backing_format[0] != '\0' ? strdup(f->backing_format) : NULL;
    if (i->backing != NULL)
        return 0;
    return err_set(e, ERR_REFUSED, 0, "%s: its backing file %s is not in the pool", path,
                   f->backing);
}

/* A name in the image that is no plain path, or of other data, and leads into the pool. */
static bool place_has(const struct pool_place *p, const char *text)
{
    return path_text_has(text, true, pool_place_name, (void *)(uintptr_t)p);
}

static int place_refuse_outside(const char *path, const char *at, struct err *e)
{
    err_set(e, ERR_REFUSED, 0, "%s is outside of the pool, and based on %s in it", path, at);
    return err_hint(e, "move it into the pool first; or take its base into it: %s",
                    text_command("qemu-img rebase -b '' %s", path));
}

/* Whether the header of a file names something in the pool in plain text: 1, 0, -1 with errno. */
static int place_head_has(struct pool_place *p, const char *path)
{
    CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    CLEANUP_FREE char *head = malloc(IMAGE_FORMAT_HEAD_BYTES + 1);
    ssize_t len = fd >= 0 && head != NULL ? pread(fd, head, IMAGE_FORMAT_HEAD_BYTES, 0) : -1;
    if (len < 0)
        return -1;
    for (ssize_t i = 0; i < len; i++)
        if ((unsigned char)head[i] < ' ')
            head[i] = '\n';
    head[len] = '\0';
    return path_text_has(head, false, pool_place_name, p);
}

int pool_place_outside(void *arg, const char *path, struct err *e)
{
    CLEANUP_FREE struct image_format *f = malloc(sizeof *f);
    CLEANUP_FREE char *at = strdup(path);
    for (unsigned depth = 0; f != NULL && at != NULL && depth < PLACE_CHAIN_MAX; depth++) {
        struct err why = {0};
        if (place_format(at, IMAGE_FORMAT_ASK_QCOW2, f, &why) < 0) /* QEMU may be less strict */
            return place_head_has(arg, at) > 0 ? place_refuse_outside(path, "something", e) : 0;
        if (image_format_is_protocol(f->backing) && place_has(arg, f->backing))
            return place_refuse_outside(path, f->backing, e);
        if (f->external_data && place_has(arg, f->data_file))
            return place_refuse_outside(path, f->data_file, e);
        char *base = image_format_backing_path(at, f->backing);
        free(at);
        at = base;
        CLEANUP_FREE char *name = at != NULL ? pool_place_name(arg, at) : NULL;
        if (name != NULL)
            return place_refuse_outside(path, at, e);
        if (strcmp(f->backing_format, "qcow2") != 0)
            return 0;
    }
    return 0;
}

/* `backing` is the name in the pool of what image `path`, which is `name` there, names as `said`. */
static int place_refuse_absolute(const char *path, const char *name, const struct image_format *f,
                                 const char *backing, struct err *e)
{
    err_set(e, ERR_REFUSED, 0,
            "%s names its backing file by an absolute path, %s, which would "
            "still lead to the old place",
            path, f->backing);
    /* relative to the image: up to the pool's directory, and from there down */
    const char *relative = backing;
    for (const char *s = strchr(name, '/'); s != NULL; s = strchr(s + 1, '/'))
        relative = text_keep("../%s", relative);
    return err_hint(e, "%s",
                    text_command("qemu-img rebase -u -F %s -b %s %s",
                                 f->backing_format[0] != '\0' ? f->backing_format : "FORMAT",
                                 relative, path));
}

int pool_place_check_backing(const struct pool_place *p, const char *name,
                             enum image_format_ask ask, struct err *e)
{
    CLEANUP_FREE char *path = place_path(p, name);
    CLEANUP_FREE struct image_format *f = malloc(sizeof *f);
    if (path == NULL || f == NULL)
        return err_set(e, ERR_IO, ENOMEM, "%s", name);
    if (ask == IMAGE_FORMAT_ASK_RAW)
        return 0;
    if (place_format(path, ask, f, e) < 0)
        return -1;
    CLEANUP_FREE char *backing =
        f->backing[0] == '/' ? pool_place_name((void *)(uintptr_t)p, f->backing) : NULL;
    return backing != NULL ? place_refuse_absolute(path, name, f, backing, e) : 0;
}

/* ---- what its user takes an image for ---- */

#define REBASE_HINT "qemu-img rebase -u -F FORMAT -b NAME %s, with a name relative to the image"

/* The backing name of `name`, which its user takes for qcow2: i->backing where it is in the pool. */
static int place_qcow2_below(struct pool_place *p, const char *name, const char *path,
                             const struct image_format *f, struct domain_image *i, struct err *e)
{
    CLEANUP_FREE char *backing = NULL;
    if (f->external_data) {
        err_set(e, ERR_REFUSED, 0, "%s: its data are in another file, '%s'", path, f->data_file);
        return err_hint(e, "merge them with qemu-img convert");
    }
    if (f->backing[0] == '\0')
        return 0;
    if (f->backing[0] == '/') {
        backing = pool_place_name(p, f->backing);
        return backing != NULL ? place_refuse_absolute(path, name, f, backing, e)
                               : pool_place_outside(p, f->backing, e);
    }
    if (image_format_is_protocol(f->backing)) {
        if (!place_has(p, f->backing))
            return 0;
        err_set(e, ERR_REFUSED, 0,
                "%s names its backing file as '%s', which would still lead to the "
                "old place",
                path, f->backing);
        return err_hint(e, REBASE_HINT, text_shell_word(path));
    }
    i->backing = image_format_backing_new(name, f->backing, e);
    if (i->backing == NULL) {
        err_wrap(e, "%s", path);
        return err_hint(e, REBASE_HINT, text_shell_word(path));
    }
    i->format = f->backing_format[0] != '\0' ? strdup(f->backing_format) : NULL;
    return 0;
}

/* Formats that we do not know, but whose headers name other files: VMDK, QED, … */
static int place_other_below(struct pool_place *p, const char *path, struct err *e)
{
    int has = place_head_has(p, path);
    if (has < 0)
        return errno == ENOENT ? 0 : err_set(e, ERR_REFUSED, errno, "%s", path);
    if (has == 0)
        return 0;
    err_set(e, ERR_REFUSED, 0,
            "%s names a file in the pool by an absolute path, which would still "
            "lead to the old place",
            path);
    return err_hint(e, "qemu-img convert makes one image of both");
}

int pool_place_below(void *arg, const char *name, const char *format, struct domain_image *i,
                     struct err *e)
{
    struct pool_place *p = arg;
    CLEANUP_FREE char *path = place_path(p, name);
    CLEANUP_FREE struct image_format *f = malloc(sizeof *f);
    struct err why = {0};
    *i = (struct domain_image){0};
    if (path == NULL || f == NULL)
        return err_set(e, ERR_IO, ENOMEM, "%s", name);
    if (format != NULL && strcmp(format, "raw") == 0)
        return 0;
    if (format != NULL && strcmp(format, "qcow2") != 0)
        return place_other_below(p, path, e);
    if (place_format(path, IMAGE_FORMAT_ASK_PROBE, f, &why) == 0)
        return place_qcow2_below(p, name, path, f, i, e);
    if (why.sys == ENOENT) /* what else is to be said about that is said elsewhere */
        return 0;
    *e = why;
    return err_hint(e, "'%s' tells more", text_command("qemu-img check %s", path));
}

/* ---- originals ---- */

static int64_t place_ns(struct timespec t)
{
    return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

int pool_place_original(const char *path, struct pool_journal_image *image, struct err *e)
{
    CLEANUP_FREE char *file = NULL;
    struct stat st;
    if (asprintf(&file, "%s/%s", path, image->name) < 0)
        return err_set(e, ERR_IO, ENOMEM, "%s", image->name);
    if (stat(file, &st) < 0) {
        int sys = errno;
        err_set(e, ERR_IO, sys, "%s", file);
        e->sys = sys;
        return -1;
    }
    image->inode = st.st_ino;
    image->size_bytes = (uint64_t)st.st_size;
    image->mtime_ns = place_ns(st.st_mtim);
    image->ctime_ns = place_ns(st.st_ctim);
    return 0;
}

int pool_place_unchanged(const char *path, const struct pool_journal_image *then, struct err *e)
{
    struct pool_journal_image now = {.name = then->name};
    if (pool_place_original(path, &now, e) < 0)
        return -1;
    return now.inode == then->inode && now.size_bytes == then->size_bytes &&
           now.mtime_ns == then->mtime_ns && now.ctime_ns == then->ctime_ns;
}

static bool place_is(const struct pool_journal_image *then, const struct stat *st)
{
    return S_ISREG(st->st_mode) && st->st_ino == then->inode &&
           (uint64_t)st->st_size == then->size_bytes && place_ns(st->st_mtim) == then->mtime_ns &&
           place_ns(st->st_ctim) == then->ctime_ns;
}

static int place_gone(const char *path, const char *name, struct err *e)
{
    return err_set(e, ERR_IO, errno, "%s/%s", path, name);
}

int pool_place_remove(const char *path, const struct pool_journal_image *then, struct err *e)
{
    struct stat st, link, named;
    const char *slash = strrchr(then->name, '/'), *base = slash != NULL ? slash + 1 : then->name;
    CLEANUP_FREE char *directory = NULL;
    if (asprintf(&directory, "%s/%.*s", path, (int)(base - then->name), then->name) < 0)
        return err_set(e, ERR_IO, ENOMEM, "%s", then->name);
    CLEANUP_CLOSE int dir = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    CLEANUP_CLOSE int fd = dir >= 0 ? openat(dir, base, O_PATH | O_NOFOLLOW | O_CLOEXEC) : -1;
    CLEANUP_CLOSE int file = dir >= 0 ? openat(dir, base, O_PATH | O_CLOEXEC) : -1;
    if (fd < 0 || file < 0 || fstat(fd, &link) < 0 || fstat(file, &st) < 0)
        return place_gone(path, then->name, e);
    if (!place_is(then, &st))
        return 0;
    if (fstatat(dir, base, &named, AT_SYMLINK_NOFOLLOW) < 0)
        return place_gone(path, then->name, e);
    if (named.st_dev != link.st_dev || named.st_ino != link.st_ino ||
        !(S_ISLNK(named.st_mode) || place_is(then, &named)))
        return 0;
    return unlinkat(dir, base, 0) < 0 ? place_gone(path, then->name, e) : 1;
}

/* ---- the share ---- */

int pool_share_open(struct pool_share *s, const struct relocate_site *site,
                    enum ring_backend backend, struct err *e)
{
    s->ring = ring_new(backend, e);
    s->place = s->ring != NULL ? site->open(site, s->ring, e) : NULL;
    if (s->place != NULL)
        return 0;
    ring_free(s->ring);
    s->ring = NULL;
    return -1;
}

void pool_share_close(struct pool_share *s)
{
    if (s->place != NULL)
        s->place->ops->place_close(s->place);
    ring_free(s->ring);
    *s = (struct pool_share){0};
}

int pool_share_has(struct pool_share *s, const struct pool_journal_image *image,
                   struct store_attr *attr, struct err *e)
{
    int found = s->place->ops->lookup(s->place, image->name, attr, e);
    if (found <= 0)
        return found;
    return attr->type == STORE_REGULAR && attr->size_bytes == image->size_bytes &&
           store_same_time(attr->mtime_ns, image->mtime_ns);
}

struct pool_journal_copy pool_copy_of(const struct store_attr *attr)
{
    return (struct pool_journal_copy){
        true, attr->inode, attr->generation, attr->size_bytes, attr->mtime_ns, attr->ctime_ns};
}

bool pool_copy_is_ours(const struct pool_journal_copy *copy, const struct store_attr *now,
                       enum pool_copy_proof proof)
{
    if (!copy->made || now->type != STORE_REGULAR || now->inode != copy->inode ||
        now->generation != copy->generation)
        return false;
    if (proof == POOL_COPY_SAME_FILE)
        return true;
    return now->size_bytes == copy->size_bytes && now->mtime_ns == copy->mtime_ns &&
           (proof == POOL_COPY_SAME_DATA || now->ctime_ns == copy->ctime_ns);
}

int pool_share_remove(struct pool_share *s, const struct pool_journal_image *image,
                      enum pool_copy_proof proof, struct err *e)
{
    struct store_attr now;
    int found = s->place->ops->lookup(s->place, image->name, &now, e);
    if (found < 0)
        return -1;
    if (found == 0)
        return 1;
    if (!pool_copy_is_ours(&image->copy, &now, proof))
        return 0;
    return s->place->ops->remove(s->place, image->name, &now, e) < 0
               ? err_wrap(e, "%s%s", s->place->url, image->name)
               : 1;
}

/* Whether a run that may still live is at work on the image: its journal says whose the part is. What
 * cannot be read does not say that nobody is. */
static int share_is_at_work(struct pool_share *s, const char *journal, struct err *e)
{
    uint8_t bytes[JOURNAL_HEADER_BYTES];
    struct journal_header h;
    struct store_attr attr;
    struct err torn = {0};
    int found = s->place->ops->lookup(s->place, journal, &attr, e);
    if (found <= 0)
        return found;
    struct store_file *f = s->place->ops->open(s->place, journal, STORE_READ, 0, e);
    if (f == NULL)
        return -1;
    ssize_t len = store_read_at(f, bytes, sizeof bytes, 0, e);
    s->place->ops->file_close(f);
    if (len < 0)
        return -1;
    int written = journal_decode_header(bytes, (size_t)len, &h, &torn);
    enum owner_state state = written > 0 ? owner_state(&h.writer) : OWNER_UNKNOWN;
    return written != 0 && state != OWNER_DEAD && state != OWNER_SELF;
}

struct share_parts {
    struct pool_share *s;
    const struct pool_journal *j;
    const char *directory;
    size_t len; /* of that */
};

/* 1: `name` is a part or a journal of the image, of a run that has ended; 0; -1. */
static int share_is_left(struct pool_share *s, const char *image, const char *name, struct err *e)
{
    CLEANUP_FREE char *part = part_name_new(image, PART_NAME_DATA);
    CLEANUP_FREE char *journal = part_name_new(image, PART_NAME_JOURNAL);
    uint32_t pid;
    if (part == NULL || journal == NULL)
        return err_set(e, ERR_IO, ENOMEM, "%s", image);
    const char *owner = part_name_owner(name, part);
    if (owner == NULL)
        owner = part_name_owner(name, journal);
    if (owner != NULL)
        return owner_text_state(owner, &pid) == OWNER_DEAD;
    if (strcmp(name, part) != 0 && strcmp(name, journal) != 0)
        return 0;
    int at_work = share_is_at_work(s, journal, e);
    if (at_work > 0)
        log_warn("%s%s stays: it is not known that the run that makes it has ended", s->place->url,
                 name);
    return at_work < 0 ? -1 : !at_work;
}

static bool share_is_in(const char *directory, size_t len, const char *name)
{
    const char *slash = strrchr(name, '/');
    return (slash != NULL ? (size_t)(slash - name) : 0) == len &&
           strncmp(name, directory, len) == 0;
}

static int share_take_part(void *arg, const char *entry, const struct store_attr *listed,
                           struct err *e)
{
    const struct share_parts *p = arg;
    const struct store_ops *ops = p->s->place->ops;
    CLEANUP_FREE char *name = NULL;
    struct store_attr now;
    if (!part_name_is(entry))
        return 0;
    if (asprintf(&name, "%.*s%s%s", (int)p->len, p->directory, p->len > 0 ? "/" : "", entry) < 0)
        return err_set(e, ERR_IO, ENOMEM, "%s", entry);
    int left = 0;
    for (size_t i = 0; left == 0 && i < p->j->n_images; i++)
        if (!p->j->images[i].was_there && share_is_in(p->directory, p->len, p->j->images[i].name))
            left = share_is_left(p->s, p->j->images[i].name, name, e);
    if (left <= 0)
        return left;
    int found = ops->lookup(p->s->place, name, &now, e);
    if (found <= 0)
        return found;
    return now.inode != listed->inode ? 0 : ops->remove(p->s->place, name, &now, e);
}

/* Neighbours share their directory, usually: it is listed once. */
int pool_share_remove_parts(struct pool_share *s, const struct pool_journal *j, struct err *e)
{
    const char *last = NULL;
    size_t last_len = 0;
    for (size_t i = 0; i < j->n_images; i++) {
        const char *name = j->images[i].name, *slash = strrchr(name, '/');
        struct share_parts p = {s, j, name, slash != NULL ? (size_t)(slash - name) : 0};
        CLEANUP_FREE char *directory = strndup(name, p.len);
        struct store_attr attr;
        if (j->images[i].was_there || (last != NULL && share_is_in(last, last_len, name)))
            continue;
        last = name;
        last_len = p.len;
        if (directory == NULL)
            return err_set(e, ERR_IO, ENOMEM, "%s", name);
        int found = s->place->ops->lookup(s->place, directory, &attr, e);
        if (found < 0 ||
            (found > 0 && s->place->ops->list(s->place, directory, share_take_part, &p, e) < 0))
            return -1;
    }
    return 0;
}

static int share_remove_if_there(struct pool_share *s, const char *name, struct err *e)
{
    struct store_attr attr;
    int found = s->place->ops->lookup(s->place, name, &attr, e);
    return found <= 0 ? -1 : s->place->ops->remove(s->place, name, &attr, e);
}

void pool_share_remove_directories(struct pool_share *s, const struct pool_journal_image *image)
{
    CLEANUP_FREE char *path = strdup(image->name);
    unsigned depth = 0;
    for (const char *c = image->name; *c != '\0'; c++)
        depth += *c == '/';
    for (; path != NULL && depth > image->directories_there; depth--) {
        struct err e = {0}, none = {0};
        *strrchr(path, '/') = '\0';
        if (share_remove_if_there(s, path, &e) < 0)
            return;
        CLEANUP_FREE char *record = part_name_new(path, PART_NAME_DIRECTORY);
        if (record != NULL)
            share_remove_if_there(s, record, &none);
    }
}

/* ---- the share at its mount ---- */

/*
 * The directory is the share's when it has the same inode number, and was changed at the same
 * nanosecond, a time that nobody can set. Opened first: an NFS client asks the server then.
 */
static int mount_is(const char *mount, const struct store_attr *attr)
{
    struct stat st;
    CLEANUP_CLOSE int fd = open(mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return -1;
    return st.st_ino == attr->inode && place_ns(st.st_ctim) == attr->ctime_ns;
}

int pool_share_check_mount(struct pool_share *s, const char *command, const char *mount,
                           struct err *e)
{
    struct store_attr attr;
    int found = s->place->ops->lookup(s->place, "", &attr, e);
    if (found < 0)
        return -1;
    int is = mount_is(mount, &attr);
    if (found > 0 && is > 0)
        return 0;
    err_set(e, ERR_REFUSED, is < 0 ? errno : 0, "%s%s", mount,
            is < 0 ? "" : " is not the share, as this host sees it");
    return err_hint(e, "mount it there first: %s %s", command, text_shell_word(mount));
}

int pool_share_await(const char *mount, const char *name, const struct store_attr *attr,
                     const volatile sig_atomic_t *cancel, struct err *e)
{
    const int64_t deadline_ns = clock_now_ns() + MOUNT_CACHE_NS;
    CLEANUP_FREE char *path = NULL;
    struct stat st = {0};
    if (asprintf(&path, "%s/%s", mount, name) < 0)
        return err_set(e, ERR_IO, ENOMEM, "%s", name);
    int there;
    while ((there = stat(path, &st)) < 0 && errno == ENOENT && !*cancel &&
           clock_now_ns() < deadline_ns)
        nanosleep(&(struct timespec){.tv_nsec = MOUNT_AGAIN_NS}, NULL);
    if (there < 0)
        return err_set(e, ERR_IO, errno, "%s", path);
    if (st.st_ino != attr->inode || (uint64_t)st.st_size != attr->size_bytes)
        return err_set(e, ERR_IO, 0, "%s is not the copy on the share", path);
    return 0;
}
