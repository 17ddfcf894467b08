/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cmd/relocate_users.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/text.h"
#include "nfs/share_url.h"
#include "qmp/virt/pool/users.h"
#include "core/pool/image_set.h"
#include "tools/cmd/own_libvirt.h"

#define USERS_SYSTEM "qemu:///system"
#define USERS_SESSION "qemu:///session"

/* ---- the images ---- */

static const struct relocate_dir *users_dir(const struct relocate_call *c,
                                            const struct relocate_site *site)
{
    for (size_t i = 0; i < c->sites.n_dirs; i++)
        if (&c->sites.dirs[i]->site == site)
            return c->sites.dirs[i];
    return NULL;
}

static char *users_join(const char *directory, const char *name)
{
    char *path = NULL;
    size_t len = strlen(directory);
    const char *slash = len > 0 && directory[len - 1] == '/' ? "" : "/";
    return asprintf(&path, "%s%s%s", directory, slash, name) < 0 ? NULL : path;
}

/* The share that the last image was on: its neighbours are there, too, and a server has few ports for
 * each host. */
struct users_share {
    const struct relocate_dir *of; /* NULL: none is open */
    struct share_url url;
    struct ring *ring;
    struct store_place *place;
};

static void users_close_share(struct users_share *s)
{
    if (s->place != NULL)
        s->place->ops->place_close(s->place);
    ring_free(s->ring);
    *s = (struct users_share){0};
}

static int users_open_share(struct relocate_call *c, struct users_share *s,
                            const struct relocate_dir *dir, struct err *e)
{
    if (s->of == dir)
        return 0;
    users_close_share(s);
    if (share_url_parse(dir->text, &s->url, e) < 0 ||
        (s->ring = ring_new(c->sites.ring, e)) == NULL ||
        (s->place = share_open(s->ring, dir->text, &c->sites.share, e)) == NULL)
        return -1;
    s->of = dir;
    return 0;
}

/* The server tells what a mount of it shows as well. */
static int users_add_shared(struct relocate_call *c, struct image_set *set, struct users_share *s,
                            const struct relocate_dir *dir, const char *name, struct err *e)
{
    struct store_attr attr = {0};
    if (users_open_share(c, s, dir, e) < 0)
        return -1;
    int found = s->place->ops->lookup(s->place, name, &attr, e);
    CLEANUP_FREE char *exported = users_join(s->url.path, name);
    if (found < 0 || exported == NULL)
        return found < 0 ? -1 : err_set(e, ERR_IO, ENOMEM, "cannot allocate for %s", name);
    return image_set_add_exported(set, s->url.host, exported, attr.inode, attr.size_bytes, e);
}

static int users_add(struct relocate_call *c, struct image_set *set, struct users_share *s,
                     const struct relocate_image *image, struct err *e)
{
    const struct relocate_dir *dir = users_dir(c, image->from);
    if (dir == NULL || dir->keeps_none)
        return 0;
    if (strncmp(dir->text, "nfs://", 6) == 0)
        return users_add_shared(c, set, s, dir, image->name, e);
    CLEANUP_FREE char *path = users_join(dir->text, image->name);
    return path != NULL ? image_set_add(set, path, e)
                        : err_set(e, ERR_IO, ENOMEM, "cannot allocate for %s", image->name);
}

static int users_add_all(struct relocate_call *c, struct image_set *set, struct err *e)
{
    const struct relocate_image *image;
    struct users_share s = {0};
    int rc = 0;
    for (size_t i = 0; rc == 0 && (image = relocate_image(c->relocate, i)) != NULL; i++)
        rc = users_add(c, set, &s, image, e);
    users_close_share(&s);
    return rc;
}

/* ---- who is asked ---- */

/* What a question is for. */
struct users_question {
    bool
        active_only; /* only what runs is in the way: of a copy, and of a move with --force; else whoever
                         would look for the image there, and what does not tell whether it would */
    bool copies; /* what is only read is not in the way either */
    enum image_openers openers;
    struct image_users *users;
};

static int users_take(const struct file_users *users, const struct users_question *q, struct err *e)
{
    for (size_t i = 0; i < users->n; i++) {
        const struct file_user *u = &users->at[i];
        if (u->unknown && q->active_only)
            log_warn("%s: %s", u->who, u->how);
        else if ((!q->active_only || (u->active && !(q->copies && u->reads))) &&
                 image_users_add(q->users, u, e) < 0)
            return -1;
    }
    return 0;
}

static int users_ask(const char *uri, struct image_set *set, const struct users_question *q,
                     struct err *e)
{
    struct image_files files = image_set_files(set);
    struct file_users users = {0};
    if (q->active_only) /* nobody runs from what lies there unlisted */
        files.n_directories = 0;
    int rc = virt_users_find(uri, &files, NULL, &users, e);
    if (rc == 0)
        rc = users_take(&users, q, e);
    file_users_free(&users);
    return rc;
}

/* There is a libvirt, which may have domains with these images. */
static int users_silent(const struct relocate_arguments *a, const char *uri,
                        const struct err *silent, struct err *e)
{
    if (!a->move || a->force) {
        log_warn("%s was not asked who uses the images: %s", uri, silent->msg);
        return 0;
    }
    err_set(e, ERR_REFUSED, 0,
            "%s does not tell who uses the images, and --move would remove them: %s", uri,
            silent->msg);
    return err_hint(
        e,
        "see '%s'; -c names another libvirt; without --move the originals stay; --force "
        "moves them without libvirt's word",
        text_command("virsh -c %s list --all", uri));
}

static int users_ask_own(const struct relocate_arguments *a, const char *uri, struct image_set *set,
                         const struct users_question *q, struct err *e)
{
    struct err silent = {0};
    return users_ask(uri, set, q, &silent) == 0 ? 0 : users_silent(a, uri, &silent, e);
}

/* One that runs, but has its socket elsewhere, can be asked only by a URI that somebody gives. */
static int users_check_hidden(const struct relocate_arguments *a, struct err *e)
{
    struct err hidden = {0};
    const pid_t pid = own_libvirt_daemon();
    if (pid == 0)
        return 0;
    err_set(&hidden, ERR_LOST, 0, "a daemon runs (process %d), but not at its usual socket",
            (int)pid);
    return users_silent(a, USERS_SYSTEM, &hidden, e);
}

static int users_ask_host(const struct relocate_arguments *a, struct image_set *set,
                          const struct users_question *q, struct err *e)
{
    const char *chosen = getenv("LIBVIRT_DEFAULT_URI");
    const bool system = own_libvirt_has_system(), session = own_libvirt_has_session();
    const bool other = chosen != NULL && *chosen != '\0' && strcmp(chosen, USERS_SYSTEM) != 0 &&
                       strcmp(chosen, USERS_SESSION) != 0;
    if (system && users_ask_own(a, USERS_SYSTEM, set, q, e) < 0)
        return -1;
    if (session && users_ask_own(a, USERS_SESSION, set, q, e) < 0)
        return -1;
    if (other)
        return users_ask_own(a, chosen, set, q, e);
    return system ? 0 : users_check_hidden(a, e);
}

static int users_ask_all(const struct relocate_call *c, struct image_set *set,
                         const struct users_question *q, struct err *e)
{
    const struct option_list *uris = &c->arg.connect;
    if (uris->n == 0)
        return users_ask_host(&c->arg, set, q, e);
    for (size_t i = 0; i < uris->n; i++)
        if (users_ask(uris->at[i], set, q, e) < 0)
            return err_wrap(e, "%s does not tell who uses the images", uris->at[i]);
    return 0;
}

/* The one image, as it is now; of a share by what the copy knows of it. */
static int users_add_one(struct relocate_call *c, struct image_set *set,
                         const struct relocate_image *image, const struct store_attr *attr,
                         struct err *e)
{
    struct share_url url;
    const struct relocate_dir *dir = users_dir(c, image->from);
    if (dir == NULL || strncmp(dir->text, "nfs://", 6) != 0)
        return users_add(c, set, NULL, image, e);
    if (share_url_parse(dir->text, &url, e) < 0)
        return -1;
    CLEANUP_FREE char *exported = users_join(url.path, image->name);
    if (exported == NULL)
        return err_set(e, ERR_IO, ENOMEM, "cannot allocate for %s", image->name);
    return image_set_add_exported(set, url.host, exported, attr->inode, attr->size_bytes, e);
}

/* With --force a move is kept from what runs, or can write. */
static struct users_question users_question(const struct relocate_call *c,
                                            struct image_users *users)
{
    const bool removes = c->arg.move && !c->arg.force;
    return (struct users_question){
        .active_only = !removes,
        .copies = !c->arg.move,
        .openers = removes ? IMAGE_OPENERS_POSSIBLE : IMAGE_OPENERS_WRITE,
        .users = users,
    };
}

/* ---- before a removal ---- */

/*
 * The libvirts are asked about all images of the plan at once, and for each removal anew, unless the
 * last answer, that nobody uses any of them, is as fresh as a new one would be when it has come: by a
 * short time, or by as long as they take to answer. The kernel is asked about each image by itself.
 */
struct relocate_users {
    pthread_mutex_t lock;
    struct image_set plan;
    int64_t unused_until_ns; /* 0: it is not known that nobody uses any */
};

enum { USERS_FRESH_NS = 1000000000 };

static int users_begin(struct relocate_call *c, struct err *e)
{
    relocate_users_free(c->users);
    c->users = calloc(1, sizeof *c->users);
    if (c->users == NULL)
        return err_set(e, ERR_IO, ENOMEM, "cannot allocate the list of the images");
    pthread_mutex_init(&c->users->lock, NULL);
    return users_add_all(c, &c->users->plan, e);
}

void relocate_users_free(struct relocate_users *u)
{
    if (u == NULL)
        return;
    image_set_free(&u->plan);
    pthread_mutex_destroy(&u->lock);
    free(u);
}

/* What only one of all is used by is in the way of that one alone. */
static int users_ask_before(const struct relocate_call *c, struct image_set *one,
                            const struct users_question *q, struct err *e)
{
    struct relocate_users *u = c->users;
    struct image_users of_any = {0};
    struct users_question any = *q;
    const int64_t asked_ns = clock_now_ns();
    if (asked_ns < u->unused_until_ns)
        return 0;
    any.users = &of_any;
    image_set_drop_gone(&u->plan);
    int rc = users_ask_all(c, &u->plan, &any, e);
    bool used = of_any.n > 0;
    image_users_free(&of_any);
    if (rc < 0)
        return -1;
    const int64_t now_ns = clock_now_ns(), took_ns = now_ns - asked_ns;
    u->unused_until_ns = used ? 0 : now_ns + (took_ns > USERS_FRESH_NS ? took_ns : USERS_FRESH_NS);
    one->along = &u->plan;
    return used ? users_ask_all(c, one, q, e) : 0;
}

int relocate_may_remove(void *arg, const struct relocate_image *image,
                        const struct store_attr *attr, struct err *e)
{
    struct relocate_call *c = arg;
    struct image_set set = {0};
    struct image_users users = {0};
    const struct users_question q = users_question(c, &users);
    pthread_mutex_lock(&c->users->lock);
    int rc = users_add_one(c, &set, image, attr, e);
    if (rc == 0)
        rc = users_ask_before(c, &set, &q, e);
    pthread_mutex_unlock(&c->users->lock);
    if (rc == 0)
        rc = image_users_add_openers(&users, &set, q.openers, e);
    if (rc == 0)
        rc = image_users_refuse(
            &users, "in use by now",
            "shut that down, and run it again, with --overwrite if it has written to the source",
            e);
    image_users_free(&users);
    image_set_free(&set);
    return rc;
}

/* ---- before all ---- */

static const char *users_hint(const struct relocate_arguments *a)
{
    return !a->move   ? "shut down what runs; --force copies it all the same"
           : a->force ? "shut down what runs"
                      : "shut down what runs; 'godwit relocate --pool' leads domains along, and "
                        "without --move the originals stay; --force moves what nobody has running, "
                        "and what cannot be found out";
}

int relocate_check_users(struct relocate_call *c, struct err *e)
{
    const struct relocate_arguments *a = &c->arg;
    struct image_users users = {0};
    const struct users_question q = users_question(c, &users);
    /* --force lets copy what is in use, but takes nothing away from under a guest */
    if (a->verify_only || (a->force && !a->move))
        return 0;
    int rc = users_begin(c, e);
    if (rc == 0)
        rc = users_ask_all(c, &c->users->plan, &q, e);
    if (rc == 0)
        rc = image_users_add_openers(&users, &c->users->plan, q.openers, e);
    if (rc == 0)
        rc = image_users_refuse(&users, "in use", users_hint(a), e);
    image_users_free(&users);
    return rc;
}
