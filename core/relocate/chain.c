/* SPDX-License-Identifier: Apache-2.0 */
#include "core/relocate/chain.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/relocate/image_format.h"
#include "core/relocate/image_other.h"

enum { CHAIN_MAX = 64 }; /* QEMU itself has no limit; a longer one is a loop, or as good as one */
enum { HEAD_ALIGN_BYTES = 4096 }; /* what direct reads are fastest with */

static struct transfer *chain_find(const struct plan *p, const struct relocate_site *from,
                                   const char *name)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->transfers[i]->image.from == from && strcmp(p->transfers[i]->image.name, name) == 0)
            return p->transfers[i];
    return NULL;
}

/* An image of another format, whose names are looked for in the plan. */
struct chain_other {
    struct plan *p;
    struct transfer *t;
    struct err *e;
    bool missing;
};

static bool chain_other_name(void *arg, const char *name, bool backing)
{
    struct chain_other *o = arg;
    struct err why = {0};
    CLEANUP_FREE char *there = image_format_backing_new(o->t->image.name, name, &why);
    CLEANUP_FREE char *as = there != NULL ? image_format_backing_new(o->t->image.as, name, &why)
                                          : NULL;
    struct transfer *of = as != NULL ? chain_find(o->p, o->t->image.from, there) : NULL;
    o->missing = of == NULL || strcmp(of->image.as, as) != 0;
    if (!o->missing)
        return true;
    err_set(o->e, ERR_REFUSED, 0,
            "%s%s: looks like an image with %s, '%s', which would stay behind",
            o->t->image.from->url, o->t->image.name,
            backing ? "a backing file" : "parts of it in other files", name);
    err_hint(o->e,
             "'qemu-img convert' makes one image of them; --format=raw moves this file alone");
    return false;
}

/* Of formats whose chains are not followed, all that is named has to move as well. */
static int chain_check_other(struct plan *p, struct transfer *t, const uint8_t *head, size_t len,
                             struct err *e)
{
    struct chain_other o = {p, t, e, false};
    image_other_names(head, len, chain_other_name, &o);
    return o.missing ? -1 : 0;
}

static int chain_read(struct plan *p, struct transfer *t, enum image_format_ask ask,
                      struct image_format *f, struct err *e)
{
    struct store_place *from = place_set_get(&p->places, t->image.from, e);
    CLEANUP_FREE unsigned char *head = aligned_alloc(HEAD_ALIGN_BYTES, IMAGE_FORMAT_HEAD_BYTES);
    if (head == NULL)
        return err_set(e, ERR_IO, ENOMEM, "cannot allocate for %s%s", from->url, t->image.name);
    struct store_file *file = from->ops->open(from, t->image.name, STORE_READ, 0, e);
    if (file == NULL)
        return -1;
    ssize_t len = store_read_at(file, head, IMAGE_FORMAT_HEAD_BYTES, 0, e);
    from->ops->file_close(file);
    if (len < 0)
        return -1;
    if (image_format_read(head, (size_t)len, t->attr.size_bytes, ask, f, e) < 0)
        return err_wrap(e, "%s%s", from->url, t->image.name);
    return ask == IMAGE_FORMAT_ASK_PROBE && f->kind == IMAGE_FORMAT_RAW
               ? chain_check_other(p, t, head, (size_t)len, e)
               : 0;
}

/* Its name at the destination is what the overlay will look for there. */
static struct transfer *chain_add(struct plan *p, const struct transfer *overlay, const char *name,
                                  const char *as, struct err *e)
{
    struct store_attr attr;
    struct store_place *from = place_set_get(&p->places, overlay->image.from, e);
    int found = from->ops->lookup(from, name, &attr, e);
    if (found < 0)
        return NULL;
    if (found == 0 || attr.type != STORE_REGULAR) {
        err_set(e, ERR_REFUSED, found == 0 ? ENOENT : 0, "%s%s, the backing file of %s, %s",
                from->url, name, overlay->image.name,
                found == 0 ? "cannot be read" : "is no regular file");
        return NULL;
    }
    const struct relocate_source s = {overlay->image.from, name, as};
    return plan_add(p, &s, &attr, e) < 0 ? NULL : p->transfers[p->n - 1];
}

/* The two names of what `t` is based on, at either end. -1 (ERR_REFUSED): they mean no file there. */
static int chain_names(const struct transfer *t, const struct image_format *f, char **name,
                       char **as, struct err *e)
{
    *as = NULL;
    *name = image_format_backing_new(t->image.name, f->backing, e);
    if (*name != NULL)
        *as = image_format_backing_new(t->image.as, f->backing, e);
    return *as != NULL ? 0 : -1;
}

/* What `t` is based on: in the plan already, or added where it is to be followed. *base may become
 * NULL: nothing. */
static int chain_base(struct plan *p, const struct transfer *t, const struct image_format *f,
                      struct transfer **base, struct err *e)
{
    *base = NULL;
    if (f->backing[0] == '\0')
        return image_format_check_whole(f, e);
    CLEANUP_FREE char *name = NULL, *as = NULL;
    if (f->external_data)
        return image_format_check_whole(f, e);
    if (chain_names(t, f, &name, &as, e) < 0)
        return -1;
    *base = chain_find(p, t->image.from, name);
    if (*base == NULL && image_format_check_whole(f, e) < 0)
        return -1;
    if (*base == NULL)
        *base = chain_add(p, t, name, as, e);
    if (*base == NULL)
        return -1;
    if (strcmp((*base)->image.as, as) != 0)
        return err_set(e, ERR_REFUSED, 0, "its backing file is called %s, and would become %s", as,
                       (*base)->image.as);
    return 0;
}

/* From an overlay down to what it is based on in the end. */
static int chain_follow(struct plan *p, struct transfer *t, enum image_format_ask ask,
                        struct err *e)
{
    struct image_format *f = malloc(sizeof *f);
    if (f == NULL)
        return err_set(e, ERR_IO, ENOMEM, "cannot allocate for %s", t->image.name);
    int rc = 0;
    for (unsigned depth = 0; rc == 0 && t != NULL; depth++) {
        struct transfer *base = NULL;
        const char *url = t->image.from->url, *name = t->image.name;
        if (depth == CHAIN_MAX)
            rc = err_set(e, ERR_REFUSED, 0, "its backing chain has no end");
        else if ((rc = chain_read(p, t, ask, f, e)) < 0)
            break;
        else
            rc = chain_base(p, t, f, &base, e);
        if (rc == 0 && base != NULL && f->follow)
            rc = image_format_ask_backing(f, &ask, e);
        if (rc < 0)
            err_wrap(e, "%s%s", url, name);
        t->after = base;
        t = f->follow ? base : NULL;
    }
    free(f);
    return rc;
}

int chain_resolve(struct plan *p, struct err *e)
{
    if (p->options.format == IMAGE_FORMAT_ASK_RAW)
        return 0;
    for (size_t i = 0, given = p->n; i < given; i++)
        if (p->transfers[i]->attr.size_bytes > 0 &&
            chain_follow(p, p->transfers[i], p->options.format, e) < 0)
            return -1;
    return 0;
}
