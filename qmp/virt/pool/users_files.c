/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * An image that no domain has yet can still be based on one of the files, and a file of 'virsh save',
 * or the memory of an external snapshot, holds a definition that names them. libvirt lists neither,
 * unless it is a volume. So each volume is looked at, then each file in the directories of the pools,
 * which may have come since the pool was refreshed, and in those of the files themselves: by their
 * first bytes, as their names say nothing. A directory is looked at as it is, without those in it.
 *
 * Of the files themselves, and of those that go along with them, what they are based on does not count.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libvirt/virterror.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/looking.h"
#include "core/relocate/part_name.h"
#include "qmp/virt/pool/users_search.h"

/* More files in one directory than are looked at: some seconds, where they are on a share. */
enum { SEARCH_FILES_MAX = 20000 };

/* What such a file begins with; libvirt's src/qemu/qemu_saveimage.h. One that is not whole begins with
 * "LibvirtQemudPart", and nobody can restore it. */
static const char save_magic[] = "LibvirtQemudSave";

static inline void search_close_dir(DIR **d)
{
    if (*d != NULL)
        closedir(*d);
}

/* 1: it was not looked at before; 0; -1. */
static int search_is_new(struct search *s, const char *path, struct err *e)
{
    char *key = strdup(path);
    char *const *at = key != NULL ? tsearch(key, &s->looked, (__compar_fn_t)strcmp) : NULL;
    if (at == NULL) {
        free(key);
        return search_no_memory(e);
    }
    if (*at == key)
        return 1;
    free(key);
    return 0;
}

void search_files_close(struct search *s)
{
    tdestroy(TAKE(s->looked), free);
}

/* 1: it is such a file; 0: it is none, or gone; -1: it cannot be read, with errno. */
static int search_is_saved_state(const char *path)
{
    char head[sizeof save_magic - 1];
    struct stat st;
    looking_at(path);
    CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return errno == ENOENT || errno == ENXIO || errno == ENODEV || errno == ENOMEDIUM ? 0 : -1;
    if (fstat(fd, &st) < 0)
        return -1;
    if (!S_ISREG(st.st_mode))
        return 0;
    ssize_t len = pread(fd, head, sizeof head, 0);
    return len < 0 ? -1 : len == (ssize_t)sizeof head && memcmp(head, save_magic, sizeof head) == 0;
}

static int search_saved_state(struct search *s, virConnectPtr conn, const char *path, struct err *e)
{
    bool user;
    CLEANUP_FREE char *xml = virDomainSaveImageGetXMLDesc(conn, path, 0);
    if (xml != NULL)
        return search_xml(s, user_text("saved state ", path, "", ""), xml, false, &user, e);
    CLEANUP_FREE char *why = strdup(virGetLastErrorMessage());
    if (virt_last_error_is(VIR_ERR_RPC) || virt_last_error_is(VIR_ERR_SYSTEM_ERROR))
        return virt_host_fail(s->host, e, "cannot read a saved state");
    return search_add(s, user_text("saved state ", path, "", ""), why != NULL ? why : "", false,
                      true, e);
}

/* `who` is taken: how the file is called, if it is a user by what it is based on. */
static int search_file(struct search *s, virConnectPtr conn, const char *path, char *who,
                       struct err *e)
{
    CLEANUP_FREE char *name = who;
    int is_new = name != NULL ? search_is_new(s, path, e) : search_no_memory(e);
    if (is_new <= 0)
        return is_new;
    int saved = search_is_saved_state(path);
    if (saved > 0)
        return search_saved_state(s, conn, path, e);
    free(TAKE(s->found));
    if (search_path(s, path) || (s->files->along != NULL && s->files->along(s->files->arg, path)))
        return 0;
    int uses = search_chain(s, path);
    if (uses == 0)
        return 0;
    return search_add(s, TAKE(name), s->found != NULL ? s->found : path, false, uses < 0, e);
}

static int search_volumes(struct search *s, virConnectPtr conn, const struct known_pool *p,
                          struct err *e)
{
    virStorageVolPtr *vols = NULL;
    if (p->given || virStoragePoolIsActive(p->pool) != 1)
        return 0;
    int n = virStoragePoolListAllVolumes(p->pool, &vols, 0), rc = 0;
    if (n < 0)
        return search_gone(s, VIR_ERR_OPERATION_INVALID, "cannot list a pool's volumes", e);
    for (int i = 0; i < n; i++) {
        CLEANUP_FREE char *path = rc == 0 ? virStorageVolGetPath(vols[i]) : NULL;
        if (rc == 0 && path == NULL)
            rc = search_gone(s, VIR_ERR_NO_STORAGE_VOL, "cannot tell where a volume is", e);
        else if (rc == 0 && *path == '/')
            rc = search_file(
                s, conn, path,
                user_text("volume ", virStorageVolGetName(vols[i]), " of pool ", p->name), e);
        virStorageVolFree(vols[i]);
    }
    free(vols);
    return rc;
}

static int search_entry(struct search *s, virConnectPtr conn, const char *directory,
                        const struct dirent *d, struct err *e)
{
    CLEANUP_FREE char *path = NULL;
    bool file = d->d_type == DT_REG || d->d_type == DT_LNK || d->d_type == DT_UNKNOWN;
    if (!file || part_name_is(d->d_name)) /* a copy on its way, which nobody can use yet */
        return 0;
    if (asprintf(&path, "%s/%s", directory, d->d_name) < 0)
        return search_no_memory(e);
    if (geteuid() != 0 && access(path, R_OK) < 0 && errno == EACCES)
        return 0;
    return search_file(s, conn, path, user_text("image ", path, "", ""), e);
}

static int search_unread(struct search *s, const char *directory, const char *why, struct err *e)
{
    return search_add(s, user_text("directory ", directory, "", ""), why, false, true, e);
}

/* One that is not there holds nothing. */
static int search_directory(struct search *s, virConnectPtr conn, const char *directory,
                            struct err *e)
{
    looking_at(directory);
    CLEANUP(search_close_dir) DIR *dir = opendir(directory);
    unsigned n = 0;
    if (dir == NULL)
        return errno == ENOENT || errno == ENOTDIR
                   ? 0
                   : search_unread(s, directory, strerror(errno), e);
    for (;;) {
        errno = 0;
        const struct dirent *d = readdir(dir);
        if (d == NULL)
            return errno == 0 ? 0 : search_unread(s, directory, strerror(errno), e);
        if (n++ == SEARCH_FILES_MAX)
            return search_unread(s, directory, "it has too many files to look at each", e);
        if (search_entry(s, conn, directory, d, e) < 0)
            return -1;
    }
}

int search_files(struct search *s, virConnectPtr conn, struct err *e)
{
    if (!s->here)
        return 0;
    for (size_t i = 0; i < s->n_pools; i++)
        if (search_volumes(s, conn, &s->pools[i], e) < 0)
            return -1;
    for (size_t i = 0; i < s->n_pools; i++) {
        const struct known_pool *p = &s->pools[i];
        if (p->holds_files && !p->given && p->target != NULL &&
            search_directory(s, conn, p->target, e) < 0)
            return -1;
    }
    for (size_t i = 0; i < s->files->n_directories; i++)
        if (search_directory(s, conn, s->files->directories[i], e) < 0)
            return -1;
    return 0;
}
