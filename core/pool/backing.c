/* SPDX-License-Identifier: Apache-2.0 */
/* What the images of a pool are based on, as they say themselves, and who says that of them. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/looking.h"
#include "core/pool/image_chain.h"
#include "core/pool/path_text.h"
#include "core/pool/place.h"
#include "core/text.h"

static char *place_path(const struct pool_place *p, const char *name)
{
    char *path = NULL;
    return asprintf(&path, "%s/%s", p->path, name) < 0 ? NULL : path;
}

/* ---- what images say of themselves ---- */

static int place_format(const char *path, enum image_format_ask ask, struct image_format *f,
                        struct err *e)
{
    struct stat st;
    CLEANUP_FREE uint8_t *head = malloc(IMAGE_FORMAT_HEAD_BYTES);
    looking_at(path);
    CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || head == NULL || fstat(fd, &st) < 0)
        return err_set(e, ERR_REFUSED, errno, "an image of the pool cannot be read: %s", path);
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
    looking_at(path);
    if (stat(path, &st) < 0)
        return err_set(e, ERR_REFUSED, errno, "an image of the pool cannot be looked at: %s", path);
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
    looking_at(path);
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

struct outside {
    struct pool_place *place;
    char *at, *in; /* the last image of the walk; the one in the pool */
};

static bool outside_step(void *arg, const char *path, bool data)
{
    struct outside *o = arg;
    CLEANUP_FREE char *name = pool_place_name(o->place, path);
    (void)data;
    free(o->at);
    o->at = strdup(path);
    if (name != NULL)
        o->in = strdup(path);
    return name == NULL;
}

int pool_place_outside(void *arg, const char *path, struct err *e)
{
    struct outside o = {.place = arg};
    struct err why = {0};
    int rc = image_chain_walk(path, outside_step, &o, &why);
    CLEANUP_FREE char *at = o.at, *in = o.in;
    if (in != NULL)
        return place_refuse_outside(path, in, e);
    if (rc < 0 && place_head_has(arg, at != NULL ? at : path) > 0) /* QEMU may be less strict */
        return place_refuse_outside(path, "something", e);
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
