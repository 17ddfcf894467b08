/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The share of the fake host, and what is asked of this machine's files: a local store whose calls
 * count, and system calls that do.
 *
 * What is removed, from the pool or from the share, must be nobody's: whoever is defined with it or runs
 * with it would find nothing there.
 */
#include "fake_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/relocate/open_files.h"
#include "core/store/store_local.h"

static bool names(const struct fake_world *w, const char *definition, const char *path)
{
    char disk[512];
    for (unsigned k = 0; fake_disk(w, definition, k, disk); k++)
        if (strcmp(disk, path) == 0)
            return true;
    return false;
}

/* Whether some definition leads to that file, by which a guest runs or would. */
static bool in_use(const struct fake_world *w, const char *path)
{
    for (size_t i = 0; i < w->n; i++)
        if (names(w, w->domains[i].definition, path) || names(w, w->domains[i].running_as, path))
            return true;
    return false;
}

static void check_removal(struct fake_world *w, const char *path)
{
    if (in_use(w, path))
        fake_violation(w, "is removed, and a domain is led to it", path);
}

/* ---- the share ---- */

struct share_site {
    struct relocate_site site;
    struct fake_world *w;
};

static struct fake_world *share_world;
static const struct store_ops *real;

static int share_lookup(struct store_place *p, const char *name, struct store_attr *attr,
                        struct err *e)
{
    enum fate fate = fake_enter(share_world, "share lookup");
    return fake_leave(fate, "lookup", ERR_LOST, e) < 0 ? -1 : real->lookup(p, name, attr, e);
}

static int share_list(struct store_place *p, const char *name, store_list_fn *fn, void *arg,
                      struct err *e)
{
    enum fate fate = fake_enter(share_world, "share list");
    return fake_leave(fate, "list", ERR_LOST, e) < 0 ? -1 : real->list(p, name, fn, arg, e);
}

static struct store_file *share_open_file(struct store_place *p, const char *name,
                                          enum store_how how, uint64_t size_bytes, struct err *e)
{
    enum fate fate = fake_enter(share_world, "share open");
    struct store_file *f = NULL;
    if (fate != FATE_FAILS)
        f = real->open(p, name, how, size_bytes, e);
    if (fate == FATE_GOES || (f == NULL && fate == FATE_FAILS_AFTER))
        return f;
    fake_leave(fate, "open", ERR_LOST, e);
    if (f != NULL)
        real->file_close(f);
    return NULL;
}

static int share_publish(struct store_file *f, const char *final, const struct store_attr *attr,
                         const struct store_attr *replaces, struct err *e)
{
    enum fate fate = fake_enter(share_world, "share publish");
    if (fate == FATE_FAILS)
        return fake_leave(fate, "publish", ERR_NFS, e);
    if (real->publish(f, final, attr, replaces, e) < 0)
        return -1;
    return fake_leave(fate, "publish", ERR_LOST, e);
}

static int share_remove(struct store_place *p, const char *name, const struct store_attr *is,
                        struct err *e)
{
    char path[512];
    enum fate fate = fake_enter(share_world, "share remove");
    if (fate == FATE_FAILS)
        return fake_leave(fate, "remove", ERR_NFS, e);
    snprintf(path, sizeof path, "%s/share/%s", share_world->top, name);
    check_removal(share_world, path);
    if (real->remove(p, name, is, e) < 0)
        return -1;
    return fake_leave(fate, "remove", ERR_LOST, e);
}

static struct store_place *share_open(const struct relocate_site *site, struct ring *ring,
                                      struct err *e)
{
    static struct store_ops faulty;
    static const struct store_local_options options;
    char path[128];
    share_world = ((const struct share_site *)site)->w;
    enum fate fate = fake_enter(share_world, "share mount");
    if (fake_leave(fate, "mount", ERR_LOST, e) < 0)
        return NULL;
    snprintf(path, sizeof path, "%s/share", share_world->top);
    struct store_place *p = store_local_open(ring, path, &options, e);
    if (p == NULL)
        return NULL;
    if (real == NULL) {
        real = p->ops;
        faulty = *real;
        faulty.lookup = share_lookup;
        faulty.list = share_list;
        faulty.open = share_open_file;
        faulty.publish = share_publish;
        faulty.remove = share_remove;
    }
    p->ops = &faulty;
    return p;
}

const struct relocate_site *fake_share(struct fake_world *w)
{
    static struct share_site s;
    s = (struct share_site){{.url = "share:/", .open = share_open}, w};
    return &s.site;
}

/* ---- this machine ---- */

static bool ends(const char *path, const char *end)
{
    size_t n = strlen(path), k = strlen(end);
    return n >= k && strcmp(path + n - k, end) == 0;
}

int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to)
{
    struct err e = {0};
    if (fake_world_here() == NULL || !ends(to, ".json"))
        return __real_rename(from, to);
    enum fate fate = fake_enter(fake_world_here(), "journal write");
    int rc = fate == FATE_FAILS ? -1 : __real_rename(from, to);
    if (rc == 0 && fake_leave(fate, "journal", ERR_IO, &e) == 0)
        return 0;
    errno = ENOSPC;
    return -1;
}

int __real_unlink(const char *path);
int __wrap_unlink(const char *path);
int __wrap_unlink(const char *path)
{
    struct err e = {0};
    if (fake_world_here() == NULL || !ends(path, ".json"))
        return __real_unlink(path);
    enum fate fate = fake_enter(fake_world_here(), "journal remove");
    int rc = fate == FATE_FAILS ? -1 : __real_unlink(path);
    if (rc == 0 && fake_leave(fate, "journal", ERR_IO, &e) == 0)
        return 0;
    errno = EIO;
    return -1;
}

/* A guest that runs has its images open. */
int __wrap_open_files_find(const struct open_file_id *ids, size_t n,
                           bool (*fn)(void *arg, const struct open_file *f), void *arg,
                           struct err *e);
int __wrap_open_files_find(const struct open_file_id *ids, size_t n,
                           bool (*fn)(void *arg, const struct open_file *f), void *arg,
                           struct err *e)
{
    struct fake_world *w = fake_world_here();
    if (fake_leave(fake_enter(w, "open files"), "open files", ERR_IO, e) < 0)
        return -1;
    for (size_t i = 0; i < w->n; i++) {
        char path[512];
        struct stat st;
        for (unsigned k = 0; fake_disk(w, w->domains[i].running_as, k, path); k++) {
            if (stat(path, &st) < 0)
                continue;
            const struct open_file_id is = open_file_id_of(&st);
            for (size_t which = 0; which < n; which++) {
                const struct open_file f = {.which = which, .who = "guest", .writing = true};
                if (open_file_id_same(&is, &ids[which]) && !fn(arg, &f))
                    return 0;
            }
        }
    }
    return 0;
}

int __real_unlinkat(int dir, const char *name, int flags);
int __wrap_unlinkat(int dir, const char *name, int flags);
int __wrap_unlinkat(int dir, const char *name, int flags)
{
    struct fake_world *w = fake_world_here();
    struct err e = {0};
    char link[64], at[PATH_MAX], path[PATH_MAX + 300], pool[80];
    snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
    ssize_t len = w != NULL ? readlink(link, at, sizeof at - 1) : -1;
    at[len > 0 ? len : 0] = '\0';
    snprintf(path, sizeof path, "%s/%s", at, name);
    snprintf(pool, sizeof pool, "%s/pool/", w != NULL ? w->top : "");
    if (w == NULL || strncmp(path, pool, strlen(pool)) != 0)
        return __real_unlinkat(dir, name, flags);
    enum fate fate = fake_enter(w, "original remove");
    check_removal(w, path);
    int rc = fate == FATE_FAILS ? -1 : __real_unlinkat(dir, name, flags);
    if (rc == 0 && fake_leave(fate, "original", ERR_IO, &e) == 0)
        return 0;
    errno = EIO;
    return -1;
}
