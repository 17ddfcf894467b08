/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_export.h"

#include <stdio.h>
#include <stdlib.h>

enum { PAGE_ENTRIES = 8, LONG_PAGE_ENTRIES = 8000, IO_MAX = 1 << 20 };

/* ---- files ---- */

static bool is(const struct fake_file *f, unsigned parent, const char *name, size_t len)
{
    const char *own = strncmp(f->name, name, len) == 0 && f->name[len] == '\0' ? f->name
                                                                               : f->second;
    return f->type != FAKE_FREE && f->parent == parent && len > 0 && strncmp(own, name, len) == 0 &&
           own[len] == '\0';
}

static int find_in(const struct fake_export *x, unsigned parent, const char *name, size_t len)
{
    for (int i = 1; i < FAKE_FILES; i++)
        if (is(&x->files[i], parent, name, len))
            return i;
    return -1;
}

int fake_export_find(const struct fake_export *x, const char *path)
{
    int at = 0;
    while (at >= 0 && *path != '\0') {
        size_t len = strcspn(path, "/");
        at = find_in(x, (unsigned)at, path, len);
        path += len;
        path += *path == '/';
    }
    return at;
}

unsigned fake_export_add(struct fake_export *x, unsigned parent, const char *name, int type)
{
    unsigned i = 1;
    while (i < FAKE_FILES && x->files[i].type != FAKE_FREE)
        i++;
    assert(i < FAKE_FILES);
    struct fake_file *f = &x->files[i];
    *f = (struct fake_file){.type = type, .parent = parent, .id = x->next_id++, .mode = 0644};
    strcpy(f->name, name);
    if (type == FAKE_REGULAR) {
        f->cached = calloc(1, FAKE_FILE_MAX);
        f->durable = calloc(1, FAKE_FILE_MAX);
    }
    return i;
}

static void drop(struct fake_file *f)
{
    free(f->cached);
    free(f->durable);
    *f = (struct fake_file){0};
}

/* Takes one name; with the last one it is gone. */
static void unlink_name(struct fake_file *f, const char *name)
{
    if (f->second[0] == '\0') {
        drop(f);
        return;
    }
    if (strcmp(f->name, name) == 0)
        strcpy(f->name, f->second);
    f->second[0] = '\0';
}

static bool is_empty(const struct fake_export *x, unsigned parent)
{
    for (int i = 1; i < FAKE_FILES; i++)
        if (x->files[i].type != FAKE_FREE && x->files[i].parent == parent)
            return false;
    return true;
}

void fake_export_init(struct fake_export *x, const struct fake_faults *faults)
{
    *x = (struct fake_export){.faults = faults, .next_id = 100, .verifier = 1};
    x->files[0] = (struct fake_file){.type = FAKE_DIRECTORY, .id = x->next_id++, .mode = 0755};
}

void fake_export_free(struct fake_export *x)
{
    for (int i = 0; i < FAKE_FILES; i++)
        drop(&x->files[i]);
}

void fake_export_crash(struct fake_export *x)
{
    x->verifier++;
    for (int i = 0; i < FAKE_FILES; i++)
        if (x->files[i].cached != NULL)
            memcpy(x->files[i].cached, x->files[i].durable, x->files[i].end);
}

/* ---- handles, names, attributes ---- */

void fake_export_put_handle(struct fake_export *x, struct fake_xdr *out, unsigned i)
{
    const uint64_t handle[] = {i, i == 0 ? x->root_generation : x->generation, x->files[i].id};
    fake_put_opaque(out, handle, sizeof handle);
}

/* What we gave wrongly comes back wrong; else the client is at fault. */
static bool is_right(const struct fake_export *x, bool right)
{
    assert(right || x->faults->n_patches > 0);
    return right;
}

/* The file; NULL: the handle is stale. */
static struct fake_file *get_handle(struct fake_export *x, struct fake_xdr *in)
{
    uint64_t handle[3];
    uint32_t len;
    const void *p = fake_get_opaque(in, &len);
    if (!is_right(x, len == sizeof handle))
        return NULL;
    memcpy(handle, p, len);
    if (!is_right(x, handle[0] < FAKE_FILES))
        return NULL;
    struct fake_file *f = &x->files[handle[0]];
    uint64_t now = handle[0] == 0 ? x->root_generation : x->generation;
    return f->type != FAKE_FREE && handle[1] == now && handle[2] == f->id ? f : NULL;
}

static unsigned index_of(const struct fake_export *x, const struct fake_file *f)
{
    return (unsigned)(f - x->files);
}

static void get_name(struct fake_xdr *in, char name[FAKE_NAME_MAX + 1])
{
    uint32_t len;
    const unsigned char *p = fake_get_opaque(in, &len);
    assert(len <= FAKE_NAME_MAX);
    memcpy(name, p, len);
    name[len] = '\0';
}

static void put_attributes(struct fake_xdr *out, const struct fake_file *f)
{
    fake_put32(out, f->type);
    fake_put32(out, f->mode);
    for (int k = 0; k < 3; k++)
        fake_put32(out, 1); /* links, uid, gid */
    fake_put64(out, f->size);
    fake_put64(out, 0);
    fake_put64(out, 0); /* rdev */
    fake_put64(out, 1); /* fsid */
    fake_put64(out, f->id);
    for (int k = 0; k < 3; k++) {
        fake_put32(out, f->mtime_s);
        fake_put32(out, 0);
    }
}

static void put_optional(struct fake_export *x, struct fake_xdr *out, const struct fake_file *f)
{
    bool given = f != NULL && !x->faults->bare;
    fake_put32(out, given);
    if (given)
        put_attributes(out, f);
}

/* A status and nothing but absent optionals: `count` of them. */
static void put_status(struct fake_xdr *out, uint32_t status, int count)
{
    fake_put32(out, status);
    while (count-- > 0)
        fake_put32(out, 0);
}

void fake_export_fail(uint32_t proc, uint32_t status, struct fake_xdr *out)
{
    static const int optionals[22] = {[2] = 2, 1, 1, 1, 1, 2, 2, 2, 2, 2,
                                      2,       2, 4, 3, 1, 1, 1, 1, 1, 2};
    put_status(out, status, optionals[proc]);
}

/* ---- procedures ---- */

void fake_export_mount(struct fake_export *x, struct fake_xdr *in, struct fake_xdr *out)
{
    char path[FAKE_NAME_MAX + 1];
    get_name(in, path);
    const char *export = x->faults->export != NULL ? x->faults->export : "/export";
    uint32_t status = strcmp(path, export) != 0 ? FAKE_ACCES : x->faults->mount_status;
    fake_put32(out, status);
    if (status != FAKE_NFS_OK)
        return;
    fake_export_put_handle(x, out, 0);
    fake_put32(out, 1);
    fake_put32(out, x->faults->flavour != 0 ? x->faults->flavour : 1); /* AUTH_SYS */
}

void fake_export_list(const struct fake_faults *faults, struct fake_xdr *out)
{
    for (unsigned i = 0; i < faults->more_exports; i++) {
        char name[40];
        snprintf(name, sizeof name, "/srv/exports/number-%u", i);
        fake_put32(out, 1);
        fake_put_opaque(out, name, (uint32_t)strlen(name));
        fake_put32(out, 0);
    }
    const char *const words[] = {"/export", "10.9.8.0/24", "/export/other"};
    for (int i = 0; i < 3; i++) {
        fake_put32(out, 1);
        fake_put_opaque(out, words[i], (uint32_t)strlen(words[i]));
        if (i > 0)
            fake_put32(out, 0); /* no more clients */
    }
    fake_put32(out, 0);
}

static void do_fsinfo(struct fake_export *x, struct fake_xdr *out)
{
    uint32_t reads = x->faults->read_max != 0 ? x->faults->read_max : IO_MAX;
    uint32_t writes = x->faults->write_max != 0 ? x->faults->write_max : IO_MAX;
    put_status(out, FAKE_NFS_OK, 1);
    for (int i = 0; i < 3; i++)
        fake_put32(out, reads);
    for (int i = 0; i < 3; i++)
        fake_put32(out, writes);
    fake_put32(out, 4096);
    fake_put64(out, UINT64_MAX >> 1);
    fake_put64(out, 1);
    fake_put32(out, 0x1b);
}

static void do_fsstat(struct fake_xdr *out)
{
    put_status(out, FAKE_NFS_OK, 1);
    for (uint64_t gib = 3; gib > 0; gib--) /* total, free, free for us */
        fake_put64(out, gib << 30);
    for (int i = 0; i < 3; i++)
        fake_put64(out, 1000);
    fake_put32(out, 0);
}

static void do_lookup(struct fake_export *x, struct fake_file *dir, struct fake_xdr *in,
                      struct fake_xdr *out)
{
    char name[FAKE_NAME_MAX + 1];
    get_name(in, name);
    int i = find_in(x, index_of(x, dir), name, strlen(name));
    if (dir->type != FAKE_DIRECTORY || i < 0) {
        put_status(out, i < 0 ? FAKE_NOENT : FAKE_NOTDIR, 1);
        return;
    }
    fake_put32(out, FAKE_NFS_OK);
    fake_export_put_handle(x, out, (unsigned)i);
    put_optional(x, out, &x->files[i]);
    fake_put32(out, 0);
}

static void do_readlink(const struct fake_file *f, struct fake_xdr *out)
{
    put_status(out, FAKE_NFS_OK, 1);
    fake_put_opaque(out, f->target, (uint32_t)strlen(f->target));
}

struct settings {
    bool has_mode, has_owner, has_size, has_mtime;
    uint32_t mode, mtime_s;
    uint64_t size;
};

static struct settings get_settings(struct fake_xdr *in)
{
    struct settings s = {0};
    if ((s.has_mode = fake_get32(in) != 0))
        s.mode = fake_get32(in);
    for (int i = 0; i < 2; i++) {
        if (fake_get32(in) != 0) {
            fake_get32(in);
            s.has_owner = true;
        }
    }
    if ((s.has_size = fake_get32(in) != 0))
        s.size = fake_get64(in);
    if (fake_get32(in) == 2)
        fake_get64(in);
    if ((s.has_mtime = fake_get32(in) == 2))
        s.mtime_s = (uint32_t)(fake_get64(in) >> 32);
    return s;
}

static void do_create(struct fake_export *x, const struct fake_file *dir, uint32_t proc,
                      struct fake_xdr *in, struct fake_xdr *out)
{
    char name[FAKE_NAME_MAX + 1];
    get_name(in, name);
    if (find_in(x, index_of(x, dir), name, strlen(name)) >= 0) {
        put_status(out, FAKE_EXIST, 2);
        return;
    }
    if (proc == FAKE_CREATE)
        assert(fake_get32(in) == 1); /* GUARDED */
    struct settings s = get_settings(in);
    unsigned i = fake_export_add(x, index_of(x, dir), name,
                                 proc == FAKE_CREATE ? FAKE_REGULAR : FAKE_DIRECTORY);
    x->files[i].mode = s.mode;
    if (s.has_size && !x->faults->ignore_size)
        x->files[i].size = s.size;
    fake_put32(out, FAKE_NFS_OK);
    fake_put32(out, !x->faults->bare);
    if (!x->faults->bare)
        fake_export_put_handle(x, out, i);
    put_optional(x, out, &x->files[i]);
    put_status(out, 0, 1);
}

static void do_setattr(struct fake_export *x, struct fake_file *f, struct fake_xdr *in,
                       struct fake_xdr *out)
{
    struct settings s = get_settings(in);
    if (s.has_owner && x->faults->eperm_chown) {
        put_status(out, FAKE_PERM, 2);
        return;
    }
    if (s.has_mode)
        f->mode = s.mode;
    if (s.has_size)
        f->size = s.size;
    if (s.has_mtime)
        f->mtime_s = s.mtime_s;
    put_status(out, FAKE_NFS_OK, 2);
}

/* Every second answer comes with attributes. */
static void do_read(struct fake_export *x, const struct fake_file *f, struct fake_xdr *in,
                    struct fake_xdr *out)
{
    uint64_t offset = fake_get64(in), left = offset < f->size ? f->size - offset : 0;
    uint32_t len = fake_get32(in);
    bool attributes = x->reads++ % 2 != 0;
    if (x->faults->short_read > 0 && len > x->faults->short_read)
        len = x->faults->short_read;
    if (len > left)
        len = (uint32_t)left;
    fake_put32(out, FAKE_NFS_OK);
    fake_put32(out, attributes);
    if (attributes)
        put_attributes(out, f);
    if (x->faults->reads_nothing)
        len = 0;
    fake_put32(out, len);
    fake_put32(out, offset + len >= f->size && !x->faults->reads_nothing);
    fake_put_opaque(out, f->cached + offset, len);
}

static void do_write(struct fake_export *x, struct fake_file *f, struct fake_xdr *in,
                     struct fake_xdr *out)
{
    uint64_t offset = fake_get64(in);
    uint32_t count = fake_get32(in), stable = fake_get32(in), len;
    const unsigned char *data = fake_get_opaque(in, &len);
    assert(len == count && offset + len <= FAKE_FILE_MAX);
    if (x->faults->short_write > 0 && len > x->faults->short_write)
        len = x->faults->short_write;
    memcpy(f->cached + offset, data, len);
    if (stable > 0)
        memcpy(f->durable + offset, data, len);
    if (f->size < offset + len)
        f->size = offset + len;
    if (f->end < offset + len)
        f->end = offset + len;
    x->writes++;
    put_status(out, FAKE_NFS_OK, 2);
    fake_put32(out, len);
    fake_put32(out, stable > 0 ? 2 : 0);
    fake_put64(out, x->verifier);
}

static void do_commit(struct fake_export *x, struct fake_file *f, struct fake_xdr *in,
                      struct fake_xdr *out)
{
    uint64_t offset = fake_get64(in);
    uint32_t count = fake_get32(in);
    uint64_t left = offset < f->end ? f->end - offset : 0;
    if (count == 0 || count > left)
        count = (uint32_t)left;
    memcpy(f->durable + offset, f->cached + offset, count);
    put_status(out, FAKE_NFS_OK, 2);
    fake_put64(out, x->verifier);
}

static void do_remove(struct fake_export *x, const struct fake_file *dir, bool directory,
                      struct fake_xdr *in, struct fake_xdr *out)
{
    char name[FAKE_NAME_MAX + 1];
    get_name(in, name);
    int i = find_in(x, index_of(x, dir), name, strlen(name));
    uint32_t status = FAKE_NFS_OK;
    if (i < 0)
        status = FAKE_NOENT;
    else if (directory != (x->files[i].type == FAKE_DIRECTORY))
        status = directory ? FAKE_NOTDIR : FAKE_ISDIR;
    else if (directory && !is_empty(x, (unsigned)i))
        status = FAKE_NOTEMPTY;
    else
        unlink_name(&x->files[i], name);
    put_status(out, status, 2);
}

/* Within one directory, and one more name is all that there is room for. */
static void do_link(struct fake_export *x, struct fake_file *f, struct fake_xdr *in,
                    struct fake_xdr *out)
{
    char name[FAKE_NAME_MAX + 1];
    const struct fake_file *dir = get_handle(x, in);
    get_name(in, name);
    uint32_t status = FAKE_NFS_OK;
    if (dir == NULL)
        status = FAKE_STALE;
    else if (x->faults->no_link)
        status = FAKE_NOTSUPP;
    else if (find_in(x, index_of(x, dir), name, strlen(name)) >= 0)
        status = FAKE_EXIST;
    assert(status != FAKE_NFS_OK || (index_of(x, dir) == f->parent && f->second[0] == '\0'));
    if (status == FAKE_NFS_OK)
        strcpy(f->second, name);
    put_status(out, status, 3);
}

static void do_rename(struct fake_export *x, const struct fake_file *dir, struct fake_xdr *in,
                      struct fake_xdr *out)
{
    char from[FAKE_NAME_MAX + 1], to[FAKE_NAME_MAX + 1];
    get_name(in, from);
    const struct fake_file *to_dir = get_handle(x, in);
    get_name(in, to);
    if (to_dir == NULL) {
        put_status(out, FAKE_STALE, 4);
        return;
    }
    int i = find_in(x, index_of(x, dir), from, strlen(from));
    int old = find_in(x, index_of(x, to_dir), to, strlen(to));
    if (i >= 0 && old >= 0 && i != old)
        unlink_name(&x->files[old], to);
    if (i >= 0) {
        strcpy(x->files[i].name, to);
        x->files[i].parent = index_of(x, to_dir);
    }
    put_status(out, i < 0 ? FAKE_NOENT : FAKE_NFS_OK, 4);
}

/* A page of names that is never the last: so many "." as pass for an answer. */
static void do_list_on(const struct fake_file *dir, uint64_t cookie, struct fake_xdr *out)
{
    put_status(out, FAKE_NFS_OK, 1);
    fake_put64(out, dir->id);
    for (unsigned i = 0; i < LONG_PAGE_ENTRIES; i++) {
        fake_put32(out, 1);
        fake_put64(out, dir->id);
        fake_put_opaque(out, ".", 1);
        fake_put64(out, ++cookie);
    }
    fake_put64(out, 0); /* no entry, not the end */
}

/* Whether the list has an entry from `i` on. */
static bool is_more(const struct fake_export *x, unsigned dir, unsigned i)
{
    while (i >= 2 && i < FAKE_FILES + 2 &&
           (x->files[i - 2].type == FAKE_FREE || i == 2 || x->files[i - 2].parent != dir))
        i++;
    return i < FAKE_FILES + 2;
}

/* Cookies are "." and "..", and then indexes of files. Every third entry has no attributes. */
static void do_list(struct fake_export *x, const struct fake_file *dir, bool plus,
                    struct fake_xdr *in, struct fake_xdr *out)
{
    uint64_t cookie = fake_get64(in), verifier = fake_get64(in);
    unsigned left = x->faults->page_entries != 0 ? x->faults->page_entries : PAGE_ENTRIES;
    is_right(x, verifier == (cookie == 0 ? 0 : dir->id));
    if (x->faults->list_goes_on) {
        do_list_on(dir, cookie, out);
        return;
    }
    put_status(out, FAKE_NFS_OK, 1);
    fake_put64(out, dir->id);
    unsigned i = cookie == 0 ? 0 : (unsigned)cookie - 1;
    unsigned char *last_cookie = NULL;
    if (x->faults->list_circles && !is_more(x, index_of(x, dir), i))
        i = 1;
    for (; i < FAKE_FILES + 2 && left > 0; i++) {
        const struct fake_file *f = i < 2 ? dir : &x->files[i - 2];
        if (i >= 2 && (f->type == FAKE_FREE || f == x->files || f->parent != index_of(x, dir)))
            continue;
        const char *name = i == 0 ? "." : i == 1 ? ".." : f->name;
        fake_put32(out, 1);
        fake_put64(out, f->id);
        fake_put_opaque(out, name, (uint32_t)strlen(name));
        last_cookie = out->at;
        fake_put64(out, i + 2);
        if (plus) {
            put_optional(x, out, i % 3 == 0 ? NULL : f);
            fake_put32(out, 0);
        }
        left--;
    }
    bool again = i == FAKE_FILES + 2 && x->faults->list_circles;
    if (again && last_cookie != NULL) {
        struct fake_xdr at = {.at = last_cookie};
        fake_put64(&at, 2);
    }
    fake_put32(out, 0);
    fake_put32(out, i == FAKE_FILES + 2 && !again);
}

void fake_export_call(struct fake_export *x, uint32_t proc, struct fake_xdr *in,
                      struct fake_xdr *out)
{
    if (proc == 0)
        return;
    struct fake_file *f = proc == 19 ? x->files : get_handle(x, in);
    if (f == NULL) {
        fake_export_fail(proc, FAKE_STALE, out);
        return;
    }
    switch (proc) {
    case 1:
        fake_put32(out, FAKE_NFS_OK);
        put_attributes(out, f);
        break;
    case 2: do_setattr(x, f, in, out); break;
    case 3: do_lookup(x, f, in, out); break;
    case 5: do_readlink(f, out); break;
    case FAKE_READ: do_read(x, f, in, out); break;
    case FAKE_WRITE: do_write(x, f, in, out); break;
    case FAKE_CREATE:
    case 9: do_create(x, f, proc, in, out); break;
    case 12:
    case 13: do_remove(x, f, proc == 13, in, out); break;
    case 14: do_rename(x, f, in, out); break;
    case 15: do_link(x, f, in, out); break;
    case 16: do_list(x, f, false, in, out); break;
    case 17:
        if (x->faults->no_plus)
            fake_export_fail(proc, FAKE_NOTSUPP, out);
        else
            do_list(x, f, true, in, out);
        break;
    case 18: do_fsstat(out); break;
    case 19: do_fsinfo(x, out); break;
    case FAKE_COMMIT: do_commit(x, f, in, out); break;
    default: assert(0 && "a procedure that nobody has asked for yet");
    }
}
