/* SPDX-License-Identifier: Apache-2.0 */
#include "core/pool/place.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/cleanup.h"
#include "core/looking.h"

int pool_place_open(struct pool_place *p, const char *path, struct err *e)
{
    struct stat st;
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/')
        len--;
    looking_at(path);
    p->path = strndup(path, len);
    p->real = realpath(path, NULL);
    if (p->path == NULL || p->real == NULL || stat(p->real, &st) < 0)
        return err_set(e, ERR_REFUSED, errno, "the directory of the pool cannot be looked at: %s",
                       path);
    if (!S_ISDIR(st.st_mode) || p->real[1] == '\0')
        return err_set(e, ERR_REFUSED, 0, "%s: is no directory that could be moved", path);
    p->device = st.st_dev;
    p->inode = st.st_ino;
    return 0;
}

void pool_place_close(struct pool_place *p)
{
    free(p->path);
    free(p->real);
}

/* ---- names ---- */

/* The path without doubled slashes and "."; NULL: it has a "..", whose meaning links decide. */
static char *place_tidy(const char *path)
{
    char *tidy = malloc(strlen(path) + 2), *to = tidy;
    while (tidy != NULL && *path != '\0') {
        path += strspn(path, "/");
        size_t len = strcspn(path, "/");
        if (len == 2 && strncmp(path, "..", 2) == 0) {
            free(tidy);
            return NULL;
        }
        if (len > 0 && !(len == 1 && *path == '.')) {
            *to++ = '/';
            memcpy(to, path, len);
            to += len;
        }
        path += len;
    }
    if (tidy != NULL)
        *to = '\0';
    return tidy;
}

static char *place_below(const char *directory, const char *path)
{
    size_t len = strlen(directory);
    if (strncmp(path, directory, len) != 0 || (path[len] != '/' && path[len] != '\0'))
        return NULL;
    return strdup(path[len] == '/' ? path + len + 1 : "");
}

/* What is not there yet is in a directory that is. */
static char *place_real(const char *path)
{
    char *real = realpath(path, NULL);
    const char *slash = strrchr(path, '/');
    if (real != NULL || slash == NULL || slash == path)
        return real;
    CLEANUP_FREE char *parent = strndup(path, (size_t)(slash - path));
    CLEANUP_FREE char *directory = parent != NULL ? realpath(parent, NULL) : NULL;
    if (directory == NULL || asprintf(&real, "%s%s", directory, slash) < 0)
        return NULL;
    return real;
}

/* The pool's directory may be mounted in more than one place. */
static char *place_bound(const struct pool_place *p, const char *real)
{
    CLEANUP_FREE char *at = strdup(real);
    struct stat st;
    for (size_t len = strlen(real); at != NULL && len > 0;) {
        at[len] = '\0';
        if (stat(at, &st) == 0 && st.st_dev == p->device && st.st_ino == p->inode)
            return strdup(real[len] == '/' ? real + len + 1 : "");
        do
            len--;
        while (len > 0 && at[len] != '/');
    }
    return NULL;
}

/* By its letters, and else by where links and mounts lead. */
char *pool_place_name(void *arg, const char *path)
{
    const struct pool_place *p = arg;
    if (*path != '/')
        return NULL;
    CLEANUP_FREE char *tidy = place_tidy(path);
    char *name = tidy != NULL ? place_below(p->path, tidy) : NULL;
    if (name != NULL)
        return name;
    CLEANUP_FREE char *real = place_real(path);
    name = real != NULL ? place_below(p->real, real) : NULL;
    return name == NULL && real != NULL ? place_bound(p, real) : name;
}
