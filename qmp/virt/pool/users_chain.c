/* SPDX-License-Identifier: Apache-2.0 */
#include "qmp/virt/pool/users_chain.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/cleanup.h"
#include "core/relocate/image_format.h"
#include "core/pool/path_text.h"

enum { USERS_CHAIN_MAX = 64 }; /* as core/relocate/chain.c */

/* 1: it is a qcow2, *f; 0: it is something else, or nothing; -1. */
static int chain_read(const char *path, struct image_format *f, struct err *e)
{
    struct stat st;
    CLEANUP_FREE uint8_t *head = malloc(IMAGE_FORMAT_HEAD_BYTES);
    CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (head == NULL)
        return err_set(e, ERR_IO, ENOMEM, "no memory for %s", path);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ENXIO || errno == ENODEV ||
                   errno == ENOMEDIUM))
        return 0;
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_set(e, ERR_IO, errno, "%s: cannot find out what it is based on", path);
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return 0;
    ssize_t len = pread(fd, head, IMAGE_FORMAT_HEAD_BYTES, 0);
    if (len < 0)
        return err_set(e, ERR_IO, errno, "%s: cannot find out what it is based on", path);
    uint64_t size = S_ISBLK(st.st_mode) ? UINT64_MAX / 2 : (uint64_t)st.st_size;
    if (image_format_read(head, (size_t)len, size, IMAGE_FORMAT_ASK_PROBE, f, e) < 0) {
        err_wrap(e, "%s: cannot find out what it is based on", path);
        e->class = ERR_IO;
        return -1;
    }
    return f->kind == IMAGE_FORMAT_QCOW2;
}

/* What `backing` is as a path: relative to the image, or, as QEMU strips it, after "file:". */
static char *chain_path(const char *image, const char *backing)
{
    if (strncmp(backing, "file:", 5) == 0)
        backing += strncmp(backing, "file://", 7) == 0 ? 7 : 5;
    return image_format_backing_path(image, backing);
}

struct chain_step {
    bool (*step)(void *arg, const char *path);
    void *arg;
};

/* As path_text_name: a path at which the walk ends. */
static char *chain_stop(void *arg, const char *path)
{
    const struct chain_step *s = arg;
    return s->step(s->arg, path) ? NULL : strdup(path);
}

/* One name in an image. What is no plain path (json:, fat:, ...) is gone through for paths. */
static bool chain_name(const char *image, const char *name, struct chain_step *s, char **path)
{
    *path = chain_path(image, name);
    if (*path != NULL && !s->step(s->arg, *path))
        return false;
    return *name == '\0' || *path != NULL || !path_text_has(name, false, chain_stop, s);
}

/* Whether the walk goes on, to *next; NULL: that is all. */
static bool chain_names(const char *image, const struct image_format *f,
                        bool (*step)(void *arg, const char *path), void *arg, char **next)
{
    struct chain_step s = {step, arg};
    CLEANUP_FREE char *data = NULL;
    *next = NULL;
    return chain_name(image, f->data_file, &s, &data) && chain_name(image, f->backing, &s, next);
}

int users_chain_walk(const char *path, bool (*step)(void *arg, const char *path), void *arg,
                     struct err *e)
{
    CLEANUP_FREE struct image_format *f = malloc(sizeof *f);
    CLEANUP_FREE char *at = strdup(path);
    for (unsigned depth = 0; depth < USERS_CHAIN_MAX; depth++) {
        if (f == NULL || at == NULL)
            return err_set(e, ERR_IO, ENOMEM, "no memory for %s", path);
        int is = chain_read(at, f, e);
        if (is <= 0)
            return is;
        char *next;
        bool more = chain_names(at, f, step, arg, &next);
        free(at);
        at = next;
        if (!more || next == NULL)
            return 0;
    }
    return err_set(e, ERR_IO, 0, "%s: its backing chain has no end", path);
}
