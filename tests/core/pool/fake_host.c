/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * Each call goes through fake_enter(), which counts it, and lets happen what is to happen there: it kills
 * the process, or tells the call to fail before or after its effect. The world is in shared memory, and
 * nothing of it in the process, so that what a kill leaves is what there is.
 *
 * A guest writes a count to each of its disks when it starts and before it ends. So each image tells
 * whether anything of that was lost, and what is looked at is where the definition leads.
 */
#include "fake_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/text.h"

#define POOL_NAME "images"
#define POOL_UUID "00000000-0000-4000-8000-000000000000"

static struct fake_world
    *the_world; /* of this process: wrapped system calls have no other way to it */

void fake_die(const char *what)
{
    perror(what);
    abort();
}

/* ---- what happens at a call ---- */

struct fake_world *fake_world_here(void)
{
    return the_world;
}

void fake_violation(struct fake_world *w, const char *what, const char *path)
{
    if (w->violation[0] == '\0')
        snprintf(w->violation, sizeof w->violation, "%s: %.180s", what, path);
}

static void meddle(struct fake_world *w)
{
    struct fake_domain *d = &w->domains[w->meddled];
    if (d->running_as[0] != '\0')
        return;
    fake_start(w, d);
    if (w->fault == FAKE_USED)
        fake_end(d);
}

enum fate fake_enter(struct fake_world *w, const char *call)
{
    unsigned now = ++w->calls;
    if (w->lost && strncmp(call, "host ", 5) == 0)
        return FATE_FAILS;
    if (now != w->at)
        return FATE_GOES;
    snprintf(w->hit, sizeof w->hit, "%s", call);
    switch (w->fault) {
    case FAKE_FAILS: return FATE_FAILS;
    case FAKE_FAILS_AFTER: return FATE_FAILS_AFTER;
    case FAKE_LOST: w->lost = true; return strncmp(call, "host ", 5) == 0 ? FATE_FAILS : FATE_GOES;
    case FAKE_KILLED: kill(getpid(), SIGKILL); return FATE_FAILS;
    case FAKE_KILLED_AFTER: return FATE_DIES_AFTER;
    case FAKE_STARTED:
    case FAKE_USED: meddle(w); return FATE_GOES;
    default: return FATE_GOES;
    }
}

int fake_leave(enum fate fate, const char *call, enum err_class class, struct err *e)
{
    if (fate == FATE_DIES_AFTER)
        kill(getpid(), SIGKILL);
    return fate == FATE_GOES ? 0 : err_set(e, class, 0, "%s: the fake fails", call);
}

/* ---- the world ---- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    return at->level == 0 ? 0 : remove(path);
}

static void make_directories(const struct fake_world *w)
{
    static const char *const names[] = {"pool", "share", "other"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[96];
        snprintf(path, sizeof path, "%s/%s", w->top, names[i]);
        if (mkdir(path, 0755) < 0)
            fake_die(path);
    }
}

struct fake_world *fake_world_new(void)
{
    struct fake_world *w =
        mmap(NULL, sizeof *w, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (w == MAP_FAILED)
        fake_die("mmap");
    /* in memory, where that can be: thousands of worlds are synced again and again */
    snprintf(w->top, sizeof w->top, "%s/godwit-pool-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (mkdtemp(w->top) == NULL)
        fake_die(w->top);
    fake_world_reset(w);
    return w;
}

void fake_world_reset(struct fake_world *w)
{
    char top[sizeof w->top];
    strcpy(top, w->top);
    nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    memset(w, 0, sizeof *w);
    strcpy(w->top, top);
    make_directories(w);
    snprintf(w->pool, sizeof w->pool, "pool " POOL_NAME " " POOL_UUID "\npath %s/pool\ngiven 0\n",
             top);
    w->pool_active = true;
}

void fake_world_free(struct fake_world *w)
{
    nftw(w->top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    rmdir(w->top);
    munmap(w, sizeof *w);
}

struct fake_domain *fake_domain(struct fake_world *w, const char *name, const char *disks)
{
    struct fake_line l;
    struct fake_domain *d = &w->domains[w->n++];
    snprintf(d->uuid, sizeof d->uuid, "00000000-0000-4000-8000-%012zu", w->n);
    snprintf(d->name, sizeof d->name, "%s", name);
    fake_put_line(d->definition, "domain", d->uuid, d->name);
    for (const char *at = disks; (at = fake_next_line(at, &l)) != NULL;)
        fake_put_line(d->definition, l.word, l.a, l.b);
    fake_put_line(d->definition, "given", "0", "");
    return d;
}

/* ---- images and guests ---- */

/* What follows the count: another text in each image. */
static void image_fill(const char *path, unsigned char bytes[FAKE_IMAGE_BYTES])
{
    const char *slash = strrchr(path, '/');
    for (size_t i = 0; i < FAKE_IMAGE_BYTES; i++)
        bytes[i] = (unsigned char)(slash[1] + (char)(i / 512) + 1);
    memset(bytes, 0, sizeof(uint64_t));
}

void fake_image(struct fake_world *w, const char *name)
{
    char path[256];
    unsigned char bytes[FAKE_IMAGE_BYTES];
    snprintf(path, sizeof path, "%s/%s", w->top, name);
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(path, 0755) < 0 && errno != EEXIST)
            fake_die(path);
        *slash = '/';
    }
    image_fill(path, bytes);
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0640);
    if (fd < 0 || write(fd, bytes, sizeof bytes) != (ssize_t)sizeof bytes || close(fd) < 0)
        fake_die(path);
}

const char *fake_look(const struct fake_world *w, const struct fake_domain *d,
                      const char *definition)
{
    struct fake_line l;
    char pool[256], path[512];
    fake_volumes_path(w, definition, pool);
    for (const char *at = definition; (at = fake_next_line(at, &l)) != NULL;) {
        unsigned char bytes[FAKE_IMAGE_BYTES], whole[FAKE_IMAGE_BYTES];
        uint64_t written = d->written;
        if (!fake_disk_path(w, &l, pool, path))
            continue;
        CLEANUP_CLOSE int fd = open(path, O_RDONLY);
        if (fd < 0)
            return text_keep("%s is not there", path);
        if (read(fd, bytes, sizeof bytes) != (ssize_t)sizeof bytes)
            return text_keep("%s is not whole", path);
        image_fill(path, whole);
        memcpy(whole, &written, sizeof written);
        if (memcmp(bytes, whole, sizeof bytes) != 0)
            return text_keep("%s has lost what was written", path);
    }
    return NULL;
}

void fake_write(struct fake_world *w, struct fake_domain *d)
{
    struct fake_line l;
    char pool[256], path[512];
    fake_volumes_path(w, d->running_as, pool);
    const char *wrong = fake_look(w, d, d->running_as);
    if (wrong != NULL)
        fake_violation(w, "a guest is started, and its image", wrong);
    d->written++;
    for (const char *at = d->running_as; (at = fake_next_line(at, &l)) != NULL;) {
        uint64_t count = d->written;
        if (!fake_disk_path(w, &l, pool, path))
            continue;
        CLEANUP_CLOSE int fd = open(path, O_WRONLY);
        if (fd >= 0 && pwrite(fd, &count, sizeof count, 0) != (ssize_t)sizeof count)
            fake_die(path);
    }
}

void fake_start(struct fake_world *w, struct fake_domain *d)
{
    char pool[256];
    struct fake_line l;
    fake_pool_path(w, pool);
    d->running_as[0] = '\0';
    /* where a volume is, it is when the domain starts */
    for (const char *at = d->definition; (at = fake_next_line(at, &l)) != NULL;)
        fake_put_line(d->running_as, l.word, l.a, l.b);
    fake_put_line(d->running_as, "from", pool, "");
    fake_write(w, d);
}

void fake_note(struct fake_domain *d)
{
    fake_put_line(d->definition, "note", "changed", "");
}

void fake_end(struct fake_domain *d)
{
    d->running_as[0] = '\0';
}

/* ---- the port ---- */

struct fake {
    struct pool_host port;
    struct fake_world *w;
};

static struct fake_world *world_of(struct pool_host *h)
{
    return ((struct fake *)h)->w;
}

/* A call that only looks. */
static int fake_look_at(struct pool_host *h, const char *call, struct err *e)
{
    return fake_leave(fake_enter(world_of(h), call), call, ERR_LOST, e);
}

static struct fake_domain *find(struct pool_host *h, const char *uuid, struct err *e)
{
    struct fake_world *w = world_of(h);
    for (size_t i = 0; i < w->n; i++)
        if (strcmp(w->domains[i].uuid, uuid) == 0)
            return &w->domains[i];
    err_set(e, ERR_VIRT, ENOENT, "domain %s", uuid);
    return NULL;
}

static int fake_pool(struct pool_host *h, struct pool_facts *facts, struct err *e)
{
    const struct fake_world *w = world_of(h);
    char path[256];
    *facts = (struct pool_facts){0};
    if (fake_look_at(h, "host pool", e) < 0)
        return -1;
    fake_pool_path(w, path);
    *facts = (struct pool_facts){strdup(w->pool), strdup(path), w->pool_active, "start", "edit"};
    return 0;
}

static int fake_volumes(struct pool_host *h, struct pool_volume **volumes, size_t *n, struct err *e)
{
    static const char *const names[] = {"a.img", "b.img", "c.img", "sub"};
    char path[256], file[300];
    if (fake_look_at(h, "host volumes", e) < 0)
        return -1;
    fake_pool_path(world_of(h), path);
    *volumes = calloc(sizeof names / sizeof *names, sizeof **volumes);
    *n = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct stat st;
        snprintf(file, sizeof file, "%s/%s", path, names[i]);
        if (stat(file, &st) == 0)
            (*volumes)[(*n)++] = (struct pool_volume){
                strdup(names[i]), S_ISDIR(st.st_mode) ? POOL_VOLUME_DIRECTORY : POOL_VOLUME_FILE};
    }
    return 0;
}

static int fake_domains(struct pool_host *h, struct pool_domain **domains, size_t *n, struct err *e)
{
    const struct fake_world *w = world_of(h);
    if (fake_look_at(h, "host domains", e) < 0)
        return -1;
    *domains = calloc(w->n + 1, sizeof **domains);
    *n = w->n;
    for (size_t i = 0; i < w->n; i++) {
        const struct fake_domain *from = &w->domains[i];
        struct pool_domain *d = &(*domains)[i];
        strcpy(d->uuid, from->uuid);
        strcpy(d->name, from->name);
        d->active = from->running_as[0] != '\0';
        d->definition = strdup(from->definition);
        d->running_as = d->active ? strdup(from->running_as) : NULL;
    }
    return 0;
}

static int fake_active(struct pool_host *h, const char *uuid, struct err *e)
{
    const struct fake_domain *d = fake_look_at(h, "host active", e) == 0 ? find(h, uuid, e) : NULL;
    return d != NULL ? d->running_as[0] != '\0' : -1;
}

static char *fake_definition(struct pool_host *h, const char *uuid, bool running, struct err *e)
{
    const struct fake_domain *d = fake_look_at(h, "host definition", e) == 0 ? find(h, uuid, e)
                                                                             : NULL;
    if (d == NULL)
        return NULL;
    return strdup(running && d->running_as[0] != '\0' ? d->running_as : d->definition);
}

static int edit_line(const struct domain_move *m, struct fake_line *l, char *name, struct err *e)
{
    struct domain_image image;
    if (m->below(m->arg, name, "raw", &image, e) < 0)
        return -1;
    if (m->host == NULL) {
        if (strcmp(l->word, "disk") == 0)
            snprintf(l->a, sizeof l->a, "%s/%s", m->directory, name);
        return 0;
    }
    if (m->image(m->arg, name, false, &image, e) < 0)
        return -1;
    strcpy(l->word, "nfs");
    snprintf(l->a, sizeof l->a, "%s", m->host);
    snprintf(l->b, sizeof l->b, "%s/%s", m->export, name);
    return 0;
}

/* What it names in the pool, to be freed; NULL: nothing. */
static char *line_name(const struct domain_move *m, const struct fake_line *l)
{
    if (strcmp(l->word, "volume") == 0 && strcmp(l->a, m->pool) == 0)
        return strdup(l->b);
    char *name = strcmp(l->word, "disk") == 0 ? m->name(m->arg, l->a) : NULL;
    if (name != NULL && *name == '\0')
        free(TAKE(name));
    return name;
}

static int fake_edit(struct pool_host *h, const char *uuid, const char *definition,
                     const char *what, const struct domain_move *m, struct domain_edit *edit,
                     struct err *e)
{
    struct fake_line l;
    char text[FAKE_TEXT] = "";
    (void)what;
    *edit = (struct domain_edit){0};
    if (fake_look_at(h, "host edit", e) < 0)
        return -1;
    edit->names = calloc(FAKE_DISKS, sizeof *edit->names);
    for (const char *at = definition; (at = fake_next_line(at, &l)) != NULL;) {
        char *name = uuid != NULL ? line_name(m, &l) : NULL;
        if (name != NULL) {
            edit->names[edit->n++] = name;
            if (edit_line(m, &l, name, e) < 0) {
                domain_edit_free(edit);
                return -1;
            }
        }
        if (uuid == NULL && strcmp(l.word, "path") == 0)
            snprintf(l.a, sizeof l.a, "%s", m->directory);
        fake_put_line(text, l.word, l.a, l.b);
    }
    if (edit->n > 0 && strstr(text, "cache none") == NULL)
        fake_put_line(text, "cache", "none", "");
    if (uuid == NULL || edit->n > 0)
        edit->definition = strdup(text);
    return 0;
}

static int fake_uses(struct pool_host *h, const char *definition, const char *what, bool by_path,
                     const struct domain_move *m, struct err *e)
{
    struct fake_line l;
    int uses = 0;
    (void)what;
    if (fake_look_at(h, "host uses", e) < 0)
        return -1;
    for (const char *at = definition; (at = fake_next_line(at, &l)) != NULL;) {
        CLEANUP_FREE char *name = line_name(m, &l);
        uses |= name != NULL && !(by_path && strcmp(l.word, "volume") == 0);
    }
    return uses;
}

static bool fake_is_same(struct pool_host *h, const char *uuid, const char *a, const char *b)
{
    (void)h;
    (void)uuid;
    return fake_same(a, b);
}

/* It is three calls to a real one: stop, define, start. */
static int define_pool(struct fake_world *w, const char *definition, struct err *e)
{
    enum fate fate = fake_enter(w, "host define pool");
    w->pool_active = false;
    if (fate == FATE_FAILS)
        return fake_leave(fate, "define pool", ERR_VIRT, e);
    fake_give(w, definition, w->pool);
    if (fate == FATE_DIES_AFTER)
        return fake_leave(fate, "define pool", ERR_VIRT, e);
    w->pool_active = true;
    return fake_leave(fate, "define pool", ERR_LOST, e);
}

static int fake_define(struct pool_host *h, const char *uuid, const char *definition, struct err *e)
{
    struct fake_world *w = world_of(h);
    if (uuid == NULL)
        return define_pool(w, definition, e);
    struct fake_domain *d = find(h, uuid, e);
    enum fate fate = fake_enter(w, "host define");
    if (d != NULL && fate != FATE_FAILS)
        fake_give(w, definition, d->definition);
    return d == NULL ? -1 : fake_leave(fate, "define", ERR_LOST, e);
}

static int fake_shut_down(struct pool_host *h, const char *uuid, struct err *e)
{
    struct fake_world *w = world_of(h);
    struct fake_domain *d = find(h, uuid, e);
    enum fate fate = fake_enter(w, "host shut down");
    if (d != NULL && fate != FATE_FAILS && d->running_as[0] != '\0') {
        fake_write(w, d);
        fake_end(d);
    }
    return d == NULL ? -1 : fake_leave(fate, "shut down", ERR_LOST, e);
}

static int fake_start_call(struct pool_host *h, const char *uuid, struct err *e)
{
    struct fake_world *w = world_of(h);
    struct fake_domain *d = find(h, uuid, e);
    enum fate fate = fake_enter(w, "host start");
    if (d != NULL && fate != FATE_FAILS && d->running_as[0] == '\0')
        fake_start(w, d);
    return d == NULL ? -1 : fake_leave(fate, "start", ERR_LOST, e);
}

static void users_look(const struct fake_world *w, const struct image_files *files,
                       const struct pool_intent *intent, const struct fake_domain *d,
                       const char *definition, struct file_users *users)
{
    struct fake_line l;
    char pool[256], path[512];
    fake_volumes_path(w, definition, pool);
    if (intent != NULL && intent->target != NULL && definition != d->running_as)
        snprintf(pool, sizeof pool, "%s", intent->target);
    for (const char *at = definition; (at = fake_next_line(at, &l)) != NULL;) {
        if (!fake_disk_path(w, &l, pool, path))
            continue;
        bool is = strcmp(l.word, "nfs") == 0 ? files->nfs(files->arg, l.a, l.b)
                                             : files->path(files->arg, path, true);
        if (!is)
            continue;
        users->at = realloc(users->at, (users->n + 1) * sizeof *users->at);
        users->at[users->n++] = (struct file_user){
            .who = strdup(d->name), .how = strdup(path), .active = definition == d->running_as};
        return;
    }
}

static int fake_users(struct pool_host *h, const struct image_files *files,
                      const struct pool_intent *intent, struct file_users *users, struct err *e)
{
    const struct fake_world *w = world_of(h);
    if (fake_look_at(h, "host users", e) < 0)
        return -1;
    for (size_t i = 0; i < w->n; i++) {
        const struct fake_domain *d = &w->domains[i];
        const char *will_be = intent != NULL && intent->definition != NULL
                                  ? intent->definition(intent->arg, d->uuid)
                                  : NULL;
        if (will_be == NULL)
            users_look(w, files, intent, d, d->running_as, users);
        users_look(w, files, intent, d, will_be != NULL ? will_be : d->definition, users);
    }
    return 0;
}

struct pool_host *fake_host(struct fake_world *w)
{
    static const struct pool_host_ops ops = {
        .pool = fake_pool,
        .volumes = fake_volumes,
        .domains = fake_domains,
        .active = fake_active,
        .definition = fake_definition,
        .edit = fake_edit,
        .uses = fake_uses,
        .same = fake_is_same,
        .define = fake_define,
        .shut_down = fake_shut_down,
        .start = fake_start_call,
        .users = fake_users,
    };
    static struct fake f;
    f = (struct fake){{&ops, "fake:///", POOL_NAME, POOL_UUID}, w};
    the_world = w;
    return &f.port;
}
