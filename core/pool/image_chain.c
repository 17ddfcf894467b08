/* SPDX-License-Identifier: Apache-2.0 */
#include "core/pool/image_chain.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/cleanup.h"
#include "core/looking.h"
#include "core/pool/path_text.h"
#include "core/relocate/image_format.h"
#include "core/relocate/image_other.h"

enum { IMAGE_CHAIN_MAX = 64 }; /* as core/relocate/chain.c */

/* One image of the walk. */
struct chain_link {
    const char *path;
    image_chain_step *step;
    void *arg;
    bool data; /* what is being gone through */
    bool ended;
    char *next; /* the base; NULL: none that is a plain path */
};

static int chain_fail(const char *path, int sys, struct err *e)
{
    return err_set(e, ERR_IO, sys, "%s: cannot find out what it is based on", path);
}

/* What `backing` is as a path: relative to the image, or, as QEMU strips it, after "file:". */
static char *chain_path(const char *image, const char *backing)
{
    if (strncmp(backing, "file:", 5) == 0)
        backing += strncmp(backing, "file://", 7) == 0 ? 7 : 5;
    return image_format_backing_path(image, backing);
}

/* As path_text_name: a path at which the walk ends. */
static char *chain_stop(void *arg, const char *path)
{
    const struct chain_link *l = arg;
    return l->step(l->arg, path, l->data) ? NULL : strdup(path);
}

/* One name in an image. What is no plain path (json:, fat:, ...) is gone through for paths, and so are data
 * files: QEMU looks for those in its working directory, which is "/" for one of libvirt's. */
static bool chain_name(void *arg, const char *name, bool backing)
{
    struct chain_link *l = arg;
    CLEANUP_FREE char *path = chain_path(l->path, name);
    l->data = !backing;
    if (*name == '\0')
        return true;
    l->ended = (path != NULL && !l->step(l->arg, path, l->data)) ||
               ((path == NULL || l->data) && path_text_has(name, true, chain_stop, l));
    if (!l->ended && backing && l->next == NULL)
        l->next = TAKE(path);
    return !l->ended;
}

static int chain_names(struct chain_link *l, const uint8_t *head, size_t len, uint64_t file_bytes,
                       struct err *e)
{
    CLEANUP_FREE struct image_format *f = malloc(sizeof *f);
    if (f == NULL)
        return err_set(e, ERR_IO, ENOMEM, "no memory for %s", l->path);
    if (image_format_read(head, len, file_bytes, IMAGE_FORMAT_ASK_PROBE, f, e) < 0) {
        err_wrap(e, "%s: cannot find out what it is based on", l->path);
        e->class = ERR_IO;
        return -1;
    }
    if (f->kind != IMAGE_FORMAT_QCOW2)
        image_other_names(head, len, chain_name, l);
    else if (chain_name(l, f->data_file, false) && chain_name(l, f->backing, true) &&
             strcmp(f->backing_format, "raw") == 0)
        free(TAKE(l->next)); /* its bytes are a guest's: they say nothing */
    return 0;
}

/* What is not there, or is no file, names nothing. */
static int chain_read(struct chain_link *l, struct err *e)
{
    struct stat st;
    CLEANUP_FREE uint8_t *head = malloc(IMAGE_FORMAT_HEAD_BYTES);
    looking_at(l->path);
    CLEANUP_CLOSE int fd = open(l->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (head == NULL)
        return err_set(e, ERR_IO, ENOMEM, "no memory for %s", l->path);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ENXIO || errno == ENODEV ||
                   errno == ENOMEDIUM))
        return 0;
    if (fd < 0 || fstat(fd, &st) < 0)
        return chain_fail(l->path, errno, e);
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return 0;
    ssize_t len = pread(fd, head, IMAGE_FORMAT_HEAD_BYTES, 0);
    if (len < 0)
        return chain_fail(l->path, errno, e);
    uint64_t size = S_ISBLK(st.st_mode) ? UINT64_MAX / 2 : (uint64_t)st.st_size;
    return chain_names(l, head, (size_t)len, size, e);
}

int image_chain_walk(const char *path, image_chain_step *step, void *arg, struct err *e)
{
    CLEANUP_FREE char *at = strdup(path);
    for (unsigned depth = 0; depth < IMAGE_CHAIN_MAX; depth++) {
        struct chain_link l = {.path = at, .step = step, .arg = arg};
        if (at == NULL)
            return err_set(e, ERR_IO, ENOMEM, "no memory for %s", path);
        int rc = chain_read(&l, e);
        free(at);
        at = l.next;
        if (rc < 0 || l.ended || at == NULL)
            return rc;
    }
    return err_set(e, ERR_IO, 0, "%s: its backing chain has no end", path);
}
