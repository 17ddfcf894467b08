/* SPDX-License-Identifier: Apache-2.0 */
#include "core/pool/share.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/looking.h"
#include "core/owner.h"
#include "core/relocate/journal.h"
#include "core/relocate/part_name.h"
#include "core/text.h"

/* An NFS client may have looked a name up before, and believes for so long that it is not there. */
#define MOUNT_CACHE_NS (65 * NS_PER_S)
#define MOUNT_AGAIN_NS (200 * NS_PER_MS)

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
    if (now->size_bytes != copy->size_bytes)
        return false;
    if (copy->ctime_ns == 0) /* nobody has looked at it since it got its name */
        return store_same_time(now->mtime_ns, copy->mtime_ns);
    return now->mtime_ns == copy->mtime_ns &&
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
    return found <= 0 ? found : s->place->ops->remove(s->place, name, &attr, e);
}

int pool_share_remove_directories(struct pool_share *s, const struct pool_journal_image *image,
                                  struct err *e)
{
    CLEANUP_FREE char *path = strdup(image->name);
    unsigned depth = 0;
    for (const char *c = image->name; *c != '\0'; c++)
        depth += *c == '/';
    for (; path != NULL && depth > image->directories_there; depth--) {
        *strrchr(path, '/') = '\0';
        if (share_remove_if_there(s, path, e) < 0) {
            if (e->sys != ENOTEMPTY && e->sys != EEXIST)
                return -1;
            err_clear(e);
            return 0;
        }
        CLEANUP_FREE char *record = part_name_new(path, PART_NAME_DIRECTORY);
        if (record != NULL && share_remove_if_there(s, record, e) < 0)
            return -1;
    }
    return path != NULL ? 0 : err_set(e, ERR_IO, ENOMEM, "%s", image->name);
}

/* ---- the share at its mount ---- */

static int64_t share_ns(struct timespec t)
{
    return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

/*
 * The directory is the share's when it has the same inode number, and was changed at the same
 * nanosecond, a time that nobody can set. Opened first: an NFS client asks the server then.
 */
static int mount_is(const char *mount, const struct store_attr *attr)
{
    struct stat st;
    looking_at(mount);
    CLEANUP_CLOSE int fd = open(mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return -1;
    return st.st_ino == attr->inode && share_ns(st.st_ctim) == attr->ctime_ns;
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
    looking_at(path);
    while ((there = stat(path, &st)) < 0 && errno == ENOENT && !*cancel &&
           clock_now_ns() < deadline_ns)
        nanosleep(&(struct timespec){.tv_nsec = MOUNT_AGAIN_NS}, NULL);
    if (there < 0 && errno == ENOENT && *cancel)
        return err_set(e, ERR_CANCELLED, 0, "stopped before %s was to be seen", path);
    if (there < 0)
        return err_set(e, ERR_IO, errno, "the copy cannot be seen at %s", path);
    if (st.st_ino != attr->inode || (uint64_t)st.st_size != attr->size_bytes)
        return err_set(e, ERR_IO, 0, "%s is not the copy on the share", path);
    return 0;
}
