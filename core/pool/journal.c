/* SPDX-License-Identifier: Apache-2.0 */
#include "core/pool/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/json.h"

#define JOURNAL_KIND "godwit-pool-journal"

enum { JOURNAL_SCHEMA = 1 };

static const char *const phase_names[] = {
    [POOL_BEGUN] = "begun",
    [POOL_SWITCHING] = "switching",
    [POOL_DONE] = "done",
    [POOL_DELETING] = "deleting",
};

enum { PHASES = sizeof phase_names / sizeof *phase_names };

static char *journal_path(const char *dir, const char *uuid, const char *suffix)
{
    char *path = NULL;
    return asprintf(&path, "%s/pool-%s%s", dir, uuid, suffix) < 0 ? NULL : path;
}

static int journal_no_memory(const char *dir, struct err *e)
{
    return err_set(e, ERR_IO, ENOMEM, "no memory for the journal in %s", dir);
}

/* ---- the lock ---- */

/*
 * Whoever has the lock may remove its file: so a lock is one only while its file has the name. 1; 0:
 * it was removed meanwhile, and is to be made again; -1.
 */
static int lock_is_at(int fd, const char *path)
{
    struct stat held, named = {0};
    if (fstat(fd, &held) < 0 || (lstat(path, &named) < 0 && errno != ENOENT))
        return -1;
    return held.st_nlink > 0 && held.st_ino == named.st_ino && held.st_dev == named.st_dev;
}

int pool_journal_lock(const char *dir, const char *uuid, int *fd, struct err *e)
{
    CLEANUP_FREE char *path = journal_path(dir, uuid, ".lock");
    *fd = -1;
    if (path == NULL)
        return journal_no_memory(dir, e);
    if (mkdir(dir, 0700) < 0 && errno != EEXIST) {
        err_set(e, ERR_REFUSED, errno, "%s", dir);
        return err_hint(e, "--state-dir names another directory for the journal");
    }
    int at = 0;
    while (*fd < 0 && at == 0) {
        CLEANUP_CLOSE int lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (lock < 0) {
            err_set(e, ERR_REFUSED, errno, "%s", path);
            return err_hint(e, "--state-dir names another directory for the journal");
        }
        if (flock(lock, LOCK_EX | LOCK_NB) < 0)
            return err_set(e, ERR_REFUSED, 0, "another godwit is working on this pool (%s)", path);
        at = lock_is_at(lock, path);
        if (at < 0)
            return err_set(e, ERR_REFUSED, errno, "%s", path);
        if (at > 0)
            *fd = TAKE_FD(lock);
    }
    return 0;
}

void pool_journal_unlock(const char *dir, const char *uuid, int fd)
{
    CLEANUP_FREE char *path = journal_path(dir, uuid, ".lock");
    CLEANUP_FREE char *journal = journal_path(dir, uuid, ".json");
    if (path != NULL && journal != NULL && access(journal, F_OK) < 0 && errno == ENOENT &&
        lock_is_at(fd, path) > 0)
        unlink(path);
    close(fd);
}

/* ---- writing ---- */

static void journal_domain(struct json *o, const struct pool_journal_domain *d)
{
    json_text(o, "uuid", d->uuid);
    json_text(o, "name", d->name);
    json_text(o, "before", d->before);
    json_text(o, "after", d->after);
    json_flag(o, "shut_down", d->shut_down);
}

static void journal_copy(struct json *o, const struct pool_journal_copy *c)
{
    json_u64(o, "inode", c->inode);
    json_u64(o, "generation", c->generation);
    json_u64(o, "size_bytes", c->size_bytes);
    json_i64(o, "mtime_ns", c->mtime_ns);
    json_i64(o, "ctime_ns", c->ctime_ns);
}

static void journal_image(struct json *o, const struct pool_journal_image *i)
{
    json_text(o, "name", i->name);
    json_u64(o, "inode", i->inode);
    json_u64(o, "size_bytes", i->size_bytes);
    json_i64(o, "mtime_ns", i->mtime_ns);
    json_i64(o, "ctime_ns", i->ctime_ns);
    json_flag(o, "was_there", i->was_there);
    json_i64(o, "directories_there", i->directories_there);
    if (i->copy.made)
        journal_copy(json_node(o, "copy"), &i->copy);
    if (i->compared.made)
        journal_copy(json_node(o, "compared"), &i->compared);
}

static struct json *journal_json(const struct pool_journal *j)
{
    struct json *o = json_new(); /* with "schema" 1, which is JOURNAL_SCHEMA */
    json_text(o, "kind", JOURNAL_KIND);
    json_text(o, "uri", j->uri);
    json_text(o, "pool", j->pool);
    json_text(o, "uuid", j->uuid);
    json_text(o, "path", j->path);
    json_text(o, "share", j->share);
    json_text(o, "mount", j->mount);
    json_flag(o, "network", j->network);
    json_text(o, "phase", phase_names[j->phase]);
    json_u64(o, "edition", j->edition);
    json_text(o, "before", j->before);
    json_text(o, "after", j->after);
    struct json *domains = json_list(o, "domains"), *images = json_list(o, "images");
    for (size_t i = 0; i < j->n_domains; i++)
        journal_domain(json_item(domains), &j->domains[i]);
    for (size_t i = 0; i < j->n_images; i++)
        journal_image(json_item(images), &j->images[i]);
    return o;
}

static int journal_write_all(int fd, const char *text)
{
    size_t left = strlen(text);
    while (left > 0) {
        ssize_t n = write(fd, text, left);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -1;
        text += n;
        left -= (size_t)n;
    }
    return fsync(fd);
}

/* What was renamed or removed in a directory is durable once the directory is. */
static int journal_sync_dir(const char *dir, struct err *e)
{
    CLEANUP_CLOSE int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 && fsync(fd) == 0 ? 0 : err_set(e, ERR_IO, errno, "%s", dir);
}

int pool_journal_write(struct pool_journal *j, const char *dir, struct err *e)
{
    CLEANUP_FREE char *path = journal_path(dir, j->uuid, ".json");
    CLEANUP_FREE char *new = journal_path(dir, j->uuid, ".json.new");
    CLEANUP_FREE char *copies = journal_path(dir, j->uuid, ".copies");
    uint64_t edition;
    if (getrandom(&edition, sizeof edition, 0) != sizeof edition)
        return err_set(e, ERR_IO, errno, "cannot number the journal in %s", dir);
    j->edition = edition;
    CLEANUP_JSON struct json *o = journal_json(j);
    const char *text = json_pretty(o);
    if (path == NULL || new == NULL || copies == NULL || text == NULL)
        return journal_no_memory(dir, e);
    CLEANUP_CLOSE int fd = open(new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_set(e, ERR_IO, errno, "%s", new);
    if (journal_write_all(fd, text) < 0 || rename(new, path) < 0) {
        err_set(e, ERR_IO, errno, "%s", new);
        unlink(new);
        return -1;
    }
    if (journal_sync_dir(dir, e) < 0)
        return -1;
    unlink(copies); /* they are in it; and if that fails they are another edition's */
    return 0;
}

/* A line that a crash has cut off is not continued by the next one: each begins with a line of its own. */
int pool_journal_add_copy(const struct pool_journal *j, const char *dir,
                          const struct pool_journal_image *image, struct err *e)
{
    CLEANUP_FREE char *path = journal_path(dir, j->uuid, ".copies");
    CLEANUP_JSON struct json *o = json_new();
    json_u64(o, "edition", j->edition);
    json_text(o, "name", image->name);
    journal_copy(json_node(o, "copy"), &image->copy);
    const char *text = json_compact(o);
    CLEANUP_FREE char *line = NULL;
    if (path == NULL || text == NULL || asprintf(&line, "\n%s\n", text) < 0)
        return journal_no_memory(dir, e);
    bool is_new = access(path, F_OK) < 0;
    CLEANUP_CLOSE int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || journal_write_all(fd, line) < 0)
        return err_set(e, ERR_IO, errno, "%s", path);
    return is_new ? journal_sync_dir(dir, e) : 0;
}

int pool_journal_remove(const char *dir, const char *uuid, struct err *e)
{
    CLEANUP_FREE char *path = journal_path(dir, uuid, ".json");
    CLEANUP_FREE char *copies = journal_path(dir, uuid, ".copies");
    if (path == NULL || copies == NULL)
        return journal_no_memory(dir, e);
    if ((unlink(path) < 0 && errno != ENOENT) || (unlink(copies) < 0 && errno != ENOENT))
        return err_set(e, ERR_IO, errno, "%s", path);
    return journal_sync_dir(dir, e);
}

/* ---- reading ---- */

/* A text that must be there goes to *to, to be freed; one that may be null only with `maybe`. */
static int get_text(struct json *o, const char *key, bool maybe, char **to, struct err *e)
{
    const char *value = NULL;
    struct json *field = json_find(o, key);
    if (maybe && field == NULL)
        return 0;
    if (json_find_text(o, key, &value, e) < 0)
        return -1;
    *to = strdup(value);
    return *to != NULL ? 0 : err_set(e, ERR_IO, ENOMEM, "no memory for '%s'", key);
}

static int get_domain(struct json *o, struct pool_journal_domain *d, struct err *e)
{
    return get_text(o, "uuid", false, &d->uuid, e) < 0 ||
                   get_text(o, "name", false, &d->name, e) < 0 ||
                   get_text(o, "before", false, &d->before, e) < 0 ||
                   get_text(o, "after", true, &d->after, e) < 0 ||
                   json_find_flag(o, "shut_down", &d->shut_down, e) < 0
               ? -1
               : 0;
}

/* One that may be missing: then nothing is known of a file on the share. */
static int get_copy(struct json *image, const char *key, struct pool_journal_copy *c, struct err *e)
{
    struct json *o = json_find(image, key);
    if (o == NULL)
        return 0;
    if (json_find_u64(o, "inode", &c->inode, e) < 0 ||
        json_find_u64(o, "generation", &c->generation, e) < 0 ||
        json_find_u64(o, "size_bytes", &c->size_bytes, e) < 0 ||
        json_find_i64(o, "mtime_ns", &c->mtime_ns, e) < 0 ||
        json_find_i64(o, "ctime_ns", &c->ctime_ns, e) < 0)
        return err_wrap(e, "%s", key);
    c->made = true;
    return 0;
}

/* Journals of before do not have it. */
static int get_directories(struct json *image, struct pool_journal_image *i, struct err *e)
{
    int64_t n;
    i->directories_there = UINT_MAX;
    if (json_find(image, "directories_there") == NULL)
        return 0;
    if (json_find_i64(image, "directories_there", &n, e) < 0)
        return -1;
    i->directories_there = n >= 0 && n < UINT_MAX ? (unsigned)n : UINT_MAX;
    return 0;
}

static int get_image(struct json *o, struct pool_journal_image *i, struct err *e)
{
    return get_text(o, "name", false, &i->name, e) < 0 ||
                   json_find_u64(o, "inode", &i->inode, e) < 0 ||
                   json_find_u64(o, "size_bytes", &i->size_bytes, e) < 0 ||
                   json_find_i64(o, "mtime_ns", &i->mtime_ns, e) < 0 ||
                   json_find_i64(o, "ctime_ns", &i->ctime_ns, e) < 0 ||
                   json_find_flag(o, "was_there", &i->was_there, e) < 0 ||
                   get_directories(o, i, e) < 0 || get_copy(o, "copy", &i->copy, e) < 0 ||
                   get_copy(o, "compared", &i->compared, e) < 0
               ? -1
               : 0;
}

static int get_lists(struct json *o, struct pool_journal *j, struct err *e)
{
    struct json *domains, *images;
    size_t n_domains, n_images;
    if (json_find_list(o, "domains", &domains, &n_domains, e) < 0 ||
        json_find_list(o, "images", &images, &n_images, e) < 0)
        return -1;
    j->domains = calloc(n_domains + 1, sizeof *j->domains);
    j->images = calloc(n_images + 1, sizeof *j->images);
    if (j->domains == NULL || j->images == NULL)
        return err_set(e, ERR_IO, ENOMEM, "no memory for its lists");
    for (; j->n_domains < n_domains; j->n_domains++)
        if (get_domain(json_nth(domains, j->n_domains), &j->domains[j->n_domains], e) < 0)
            return -1;
    for (; j->n_images < n_images; j->n_images++)
        if (get_image(json_nth(images, j->n_images), &j->images[j->n_images], e) < 0)
            return -1;
    return 0;
}

static int get_phase(struct json *o, struct pool_journal *j, struct err *e)
{
    const char *name = NULL;
    if (json_find_text(o, "phase", &name, e) < 0)
        return -1;
    for (int i = 0; i < PHASES; i++) {
        if (strcmp(name, phase_names[i]) == 0) {
            j->phase = (enum pool_phase)i;
            return 0;
        }
    }
    return err_set(e, ERR_PROTO, 0, "phase: '%s' is not known", name);
}

static int get_journal(struct json *o, const char *uuid, struct pool_journal *j, struct err *e)
{
    const char *kind = NULL;
    uint64_t schema = 0;
    if (json_find_text(o, "kind", &kind, e) < 0 || json_find_u64(o, "schema", &schema, e) < 0)
        return -1;
    if (strcmp(kind, JOURNAL_KIND) != 0)
        return err_set(e, ERR_PROTO, 0, "is not a journal of godwit");
    if (schema != JOURNAL_SCHEMA)
        return err_set(e, ERR_PROTO, 0, "is of schema %ju, and this godwit knows %d",
                       (uintmax_t)schema, JOURNAL_SCHEMA);
    if (get_text(o, "uri", false, &j->uri, e) < 0 || get_text(o, "pool", false, &j->pool, e) < 0 ||
        get_text(o, "uuid", false, &j->uuid, e) < 0 ||
        get_text(o, "path", false, &j->path, e) < 0 ||
        get_text(o, "share", false, &j->share, e) < 0 ||
        get_text(o, "mount", true, &j->mount, e) < 0 ||
        json_find_flag(o, "network", &j->network, e) < 0 ||
        json_find_u64_opt(o, "edition", &j->edition, e) < 0 || get_phase(o, j, e) < 0 ||
        get_text(o, "before", false, &j->before, e) < 0 ||
        get_text(o, "after", true, &j->after, e) < 0 || get_lists(o, j, e) < 0)
        return -1;
    return strcmp(j->uuid, uuid) == 0 ? 0 : err_set(e, ERR_PROTO, 0, "is of another pool");
}

/* One line of the copies; what is not whole, or of another edition, was written down by nobody. */
static int get_added(struct pool_journal *j, const char *line, struct err *e)
{
    struct pool_journal_copy copy = {0};
    const char *name = NULL;
    uint64_t edition = 0;
    CLEANUP_JSON struct json *o = json_from_text(line);
    if (o == NULL)
        return 0;
    if (json_find_u64(o, "edition", &edition, e) < 0 || json_find_text(o, "name", &name, e) < 0 ||
        get_copy(o, "copy", &copy, e) < 0)
        return -1;
    for (size_t i = 0; edition == j->edition && i < j->n_images; i++)
        if (strcmp(j->images[i].name, name) == 0)
            j->images[i].copy = copy;
    return 0;
}

static int get_copies(struct pool_journal *j, const char *dir, struct err *e)
{
    CLEANUP_FREE char *path = journal_path(dir, j->uuid, ".copies");
    CLEANUP_FREE char *line = NULL;
    size_t room = 0;
    if (path == NULL)
        return journal_no_memory(dir, e);
    CLEANUP_FCLOSE FILE *f = fopen(path, "re");
    if (f == NULL)
        return errno == ENOENT ? 0 : err_set(e, ERR_REFUSED, errno, "%s", path);
    while (getline(&line, &room, f) >= 0)
        if (get_added(j, line, e) < 0)
            return err_wrap(e, "%s", path);
    return ferror(f) ? err_set(e, ERR_REFUSED, errno, "%s", path) : 0;
}

struct pool_journal *pool_journal_read(const char *dir, const char *uuid, struct err *e)
{
    CLEANUP_FREE char *path = journal_path(dir, uuid, ".json");
    struct pool_journal *j = calloc(1, sizeof *j);
    if (path == NULL || j == NULL) {
        free(j);
        journal_no_memory(dir, e);
        return NULL;
    }
    CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        int sys = errno;
        err_set(e, ERR_REFUSED, sys, "%s", path);
        e->sys = sys;
        free(j);
        return NULL;
    }
    CLEANUP_JSON struct json *o = json_from_fd(fd);
    if (o == NULL)
        err_set(e, ERR_REFUSED, 0, "%s: is not whole", path);
    else if (get_journal(o, uuid, j, e) < 0)
        err_wrap(e, "%s", path);
    else if (get_copies(j, dir, e) == 0)
        return j;
    if (e->class == ERR_PROTO)
        e->class = ERR_REFUSED;
    err_hint(e, "nothing was touched; what the pool and its domains were before may be in it");
    pool_journal_free(j);
    return NULL;
}

void pool_journal_free(struct pool_journal *j)
{
    if (j == NULL)
        return;
    for (size_t i = 0; i < j->n_domains + (j->domains != NULL); i++) {
        free(j->domains[i].uuid);
        free(j->domains[i].name);
        free(j->domains[i].before);
        free(j->domains[i].after);
    }
    for (size_t i = 0; i < j->n_images + (j->images != NULL); i++)
        free(j->images[i].name);
    free(j->domains);
    free(j->images);
    free(j->uri);
    free(j->pool);
    free(j->uuid);
    free(j->path);
    free(j->share);
    free(j->mount);
    free(j->before);
    free(j->after);
    free(j);
}
