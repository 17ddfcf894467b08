/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * An operand is cut before its last name: what is before is the place, and is opened as a
 * directory. Where the operand itself is a directory that nobody may look at from above, which happens on
 * shares (the export begins there), the operand is the place and its name in it is "". So that it
 * can be told, a share's directory is opened once to see whether it is one.
 */
#include "tools/cmd/relocate_site.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/looking.h"
#include "core/store/store_local.h"
#include "core/store/store_null.h"

#define AGAIN_NS (200 * NS_PER_MS)

static struct store_place *open_local(const struct relocate_site *site, struct ring *ring,
                                      struct err *e)
{
    const struct relocate_dir *d = (const struct relocate_dir *)site;
    const struct store_local_options options = {.nice_cache = d->all->nice_cache};
    return store_local_open(ring, d->text, &options, e);
}

/*
 * The first time, before anything was done, a server that does not answer is an error. Workers open
 * the share again in the middle of a run, each when it is needed: then it may just be restarting.
 */
static struct store_place *open_share(const struct relocate_site *site, struct ring *ring,
                                      struct err *e)
{
    struct relocate_dir *d = (struct relocate_dir *)(uintptr_t)site;
    const struct share_options *o = &d->all->share;
    const int64_t deadline_ns = clock_now_ns() + o->timeout_ns;
    struct store_place *p;
    while ((p = share_open(ring, d->text, o, e)) == NULL) {
        bool lost = e->sys == 0; /* what the server says has an errno */
        if (!d->was_open || !lost || *o->cancel || clock_now_ns() >= deadline_ns)
            return NULL;
        log_debug("%s: trying again", e->msg);
        err_clear(e);
        nanosleep(&(struct timespec){.tv_nsec = AGAIN_NS}, NULL);
    }
    d->was_open = true;
    return p;
}

static struct store_place *open_null(const struct relocate_site *site, struct ring *ring,
                                     struct err *e)
{
    (void)site;
    return store_null_open(ring, e);
}

static bool is_share(const char *text)
{
    return strncmp(text, "nfs:", 4) == 0;
}

static bool is_null(const char *text)
{
    return strcmp(text, "null:") == 0;
}

/* Where the path of a share's URL ends. */
static size_t path_end(const char *text)
{
    return is_share(text) ? strcspn(text, "?") : strlen(text);
}

/* Where its path begins: behind the host. */
static size_t path_start(const char *text)
{
    if (!is_share(text))
        return 0;
    const char *host = strncmp(text, "nfs://", 6) == 0 ? text + 6 : text + 4;
    return (size_t)(host - text) + strcspn(host, "/?");
}

/* The operand without slashes at its end: "/" itself keeps one, also as the export of a server. */
static char *trimmed(const char *operand)
{
    size_t end = path_end(operand), start = path_start(operand);
    size_t len = end;
    while (len > start + 1 && operand[len - 1] == '/')
        len--;
    char *text = NULL;
    if (asprintf(&text, "%.*s%s", (int)len, operand, operand + end) < 0)
        return NULL;
    return text;
}

/* The directory of that text, which is taken: a new one or, usually, the one before. */
static struct relocate_dir *site_add(struct relocate_sites *s, char *text, struct err *e)
{
    struct relocate_dir *last = s->n_dirs > 0 ? s->dirs[s->n_dirs - 1] : NULL;
    if (text != NULL && last != NULL && strcmp(last->text, text) == 0) {
        free(text);
        return last;
    }
    struct relocate_dir **more = realloc(s->dirs, (s->n_dirs + 1) * sizeof *more);
    struct relocate_dir *d = calloc(1, sizeof *d);
    if (more != NULL)
        s->dirs = more;
    size_t len = text != NULL ? strlen(text) : 0;
    char *url = NULL;
    if (text == NULL || more == NULL || d == NULL ||
        asprintf(&url, "%.*s%s", (int)path_end(text), text,
                 len == 0 || is_null(text) || text[path_end(text) - 1] == '/' ? "" : "/") < 0) {
        err_set(e, ERR_IO, ENOMEM, "cannot allocate for %zu directories", s->n_dirs + 1);
        free(text);
        free(d);
        return NULL;
    }
    d->site.url = url;
    d->site.open = is_null(text) ? open_null : is_share(text) ? open_share : open_local;
    d->all = s;
    d->text = text;
    d->is_share = is_share(text);
    d->keeps_none = is_null(text);
    s->dirs[s->n_dirs++] = d;
    return d;
}

/* Whether it is a directory that can be opened; -1: it is not known. */
static int share_is_directory(const struct relocate_sites *s, const char *text, struct err *e)
{
    struct ring *ring = ring_new(s->ring, e);
    struct store_place *p = ring != NULL ? share_open(ring, text, &s->share, e) : NULL;
    int is = p != NULL;
    if (p != NULL) {
        p->ops->place_close(p);
    } else if (ring == NULL || e->sys != ENOTDIR) {
        is = e->sys == ENOENT ? 0 : -1;
    }
    ring_free(ring);
    if (is == 0)
        err_clear(e);
    return is;
}

static bool local_is_directory(const char *text)
{
    struct stat st;
    looking_at(text);
    return stat(text, &st) == 0 && S_ISDIR(st.st_mode);
}

/* "a/b/c" → "a/b" and "c". */
static int site_cut(struct relocate_sites *s, char *text, struct relocate_dir **dir, char **name,
                    struct err *e)
{
    size_t start = path_start(text), end = path_end(text);
    size_t at = end;
    while (at > start && text[at - 1] != '/')
        at--;
    *name = strndup(text + at, end - at);
    size_t len = at > start + 1 ? at - 1 : at;
    char *parent = NULL;
    if (asprintf(&parent, "%.*s%s", (int)len, text, text + end) < 0)
        parent = NULL;
    free(text);
    *dir = site_add(s, parent, e);
    if (*dir == NULL)
        return -1;
    return *name != NULL ? 0
                         : err_set(e, ERR_IO, ENOMEM, "cannot allocate for %s", (*dir)->site.url);
}

static int site_source(struct relocate_sites *s, const char *operand, bool recursive,
                       struct relocate_source *source, struct err *e)
{
    struct relocate_dir *dir;
    char *name = NULL, *text = trimmed(operand);
    if (text == NULL)
        return err_set(e, ERR_IO, ENOMEM, "cannot allocate for %s", operand);
    if (*operand == '\0' || is_null(text)) {
        free(text);
        return err_set(e, ERR_USAGE, 0, "'%s': is no source", operand);
    }
    const char *base = strrchr(text, '/');
    base = base != NULL ? base + 1 : text;
    size_t base_len = strcspn(base, is_share(text) ? "?" : "");
    bool itself = strcmp(base, ".") == 0 || strcmp(base, "..") == 0 || base_len == 0;
    int whole = itself ? 1 : 0;
    if (recursive && is_share(text) && (whole = share_is_directory(s, text, e)) < 0) {
        free(text);
        return -1;
    }
    source->as = itself ? strdup("") : strndup(base, base_len);
    if (whole) {
        dir = site_add(s, text, e);
        name = strdup("");
    } else if (site_cut(s, text, &dir, &name, e) < 0) {
        return -1;
    }
    source->from = dir != NULL ? &dir->site : NULL;
    source->name = name;
    return dir != NULL ? 0 : -1;
}

/* A directory that is there; else a single source's new name. */
static int site_destination(struct relocate_sites *s, const char *operand, struct err *e)
{
    char *name, *text = trimmed(operand);
    if (text == NULL)
        return err_set(e, ERR_IO, ENOMEM, "cannot allocate for %s", operand);
    size_t end = path_end(operand);
    bool slash = end > 0 && operand[end - 1] == '/';
    int is = is_null(text) || slash || s->n > 1 ? 1
             : is_share(text)                   ? share_is_directory(s, text, e)
                                                : local_is_directory(text);
    if (is < 0) {
        free(text);
        return -1;
    }
    if (is) {
        s->to = site_add(s, text, e);
        return s->to != NULL ? 0 : -1;
    }
    if (site_cut(s, text, &s->to, &name, e) < 0)
        return -1;
    free((char *)(uintptr_t)s->sources[0].as);
    s->sources[0].as = name;
    return 0;
}

int relocate_sites_open(struct relocate_sites *s, char **sources, size_t n, const char *destination,
                        bool recursive, struct err *e)
{
    s->sources = calloc(n, sizeof *s->sources);
    if (s->sources == NULL)
        return err_set(e, ERR_IO, ENOMEM, "cannot allocate for %zu sources", n);
    s->n = n;
    for (size_t i = 0; i < n; i++)
        if (site_source(s, sources[i], recursive, &s->sources[i], e) < 0)
            return -1;
    return site_destination(s, destination, e);
}

struct relocate_dir *relocate_sites_directory(struct relocate_sites *s, const char *operand,
                                              struct err *e)
{
    return site_add(s, trimmed(operand), e);
}

void relocate_sites_close(struct relocate_sites *s)
{
    for (size_t i = 0; i < s->n; i++) {
        free((char *)(uintptr_t)s->sources[i].name);
        free((char *)(uintptr_t)s->sources[i].as);
    }
    for (size_t i = 0; i < s->n_dirs; i++) {
        free((char *)(uintptr_t)s->dirs[i]->site.url);
        free(s->dirs[i]->text);
        free(s->dirs[i]);
    }
    free(s->sources);
    free(s->dirs);
}
