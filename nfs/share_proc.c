/* SPDX-License-Identifier: Apache-2.0 */
#include "nfs/share_proc.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/clock.h"

/* What take() gets: where to put the answer, and what the server's status was. */
struct proc_answer {
    nfsstat3 status;
    struct share_entry *entry;
    bool has_fh, has_attr; /* of *entry */
    struct share_limits *limits;
    uint64_t *free_bytes;
    char *target;
};

static nfs_fh3 proc_fh(const struct share_fh *fh)
{
    return (nfs_fh3){.data = {.data_len = fh->len, .data_val = (char *)(uintptr_t)fh->val}};
}

/* libnfs wants names without const, and only reads them. */
static diropargs3 proc_where(const struct share_fh *dir, const char *name)
{
    return (diropargs3){.dir = proc_fh(dir), .name = (char *)(uintptr_t)name};
}

static bool proc_take_fh(struct share_fh *to, size_t len, const char *val)
{
    if (len == 0 || len > sizeof to->val)
        return false;
    to->len = (uint32_t)len;
    memcpy(to->val, val, len);
    return true;
}

static int64_t proc_time_ns(nfstime3 t)
{
    return (int64_t)t.seconds * NS_PER_S + (int64_t)t.nseconds;
}

/* What NFSv3 cannot hold (before 1970, after 2106) becomes the nearest that it can. */
static nfstime3 proc_time(int64_t ns)
{
    const int64_t last_ns = UINT32_MAX * NS_PER_S + (NS_PER_S - 1);
    ns = ns < 0 ? 0 : ns > last_ns ? last_ns : ns;
    return (nfstime3){.seconds = (u_int)(ns / NS_PER_S), .nseconds = (u_int)(ns % NS_PER_S)};
}

void share_proc_take_attr(struct share_entry *to, const fattr3 *a)
{
    to->link = a->type == NF3LNK;
    to->attr = (struct store_attr){
        .size_bytes = a->size,
        .used_bytes = a->used,
        .device = a->fsid,
        .inode = a->fileid,
        .atime_ns = proc_time_ns(a->atime),
        .mtime_ns = proc_time_ns(a->mtime),
        .ctime_ns = proc_time_ns(a->ctime),
        .mode = a->mode & 07777,
        .uid = a->uid,
        .gid = a->gid,
        .type = a->type == NF3REG   ? STORE_REGULAR
                : a->type == NF3BLK ? STORE_BLOCK_DEVICE
                : a->type == NF3DIR ? STORE_DIRECTORY
                                    : STORE_OTHER,
    };
}

/* Handles of one file are equal, and none is ever that of another (RFC 1813, 2.5): the generation is
 * a hash of it (FNV-1a). */
static void share_proc_identify(struct share_entry *entry)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (uint32_t i = 0; i < entry->fh.len; i++)
        hash = (hash ^ (unsigned char)entry->fh.val[i]) * UINT64_C(0x100000001b3);
    entry->attr.generation = hash | 1; /* 0 is "not known" */
}

static void proc_take_entry(struct proc_answer *a, const post_op_fh3 *fh, const post_op_attr *attr)
{
    const nfs_fh3 *handle = &fh->post_op_fh3_u.handle;
    a->has_fh = fh->handle_follows &&
                proc_take_fh(&a->entry->fh, handle->data.data_len, handle->data.data_val);
    a->has_attr = attr->attributes_follow;
    if (a->has_attr)
        share_proc_take_attr(a->entry, &attr->post_op_attr_u.attributes);
    if (a->has_fh)
        share_proc_identify(a->entry);
}

/* Waits; then an NFS status other than OK is an error, too. */
static int proc_finish(struct share_conn *c, struct share_call *call, bool queued,
                       int64_t deadline_ns, struct err *e)
{
    const struct proc_answer *a = call->to;
    if (share_conn_wait(c, call, queued, deadline_ns, e) < 0)
        return -1;
    if (a->status == NFS3_OK)
        return 0;
    return err_set(e, ERR_NFS, share_conn_errno(a->status), "the server says no");
}

/* A server that can no longer be asked is lost, whichever procedure was to be next. */
static int proc_begin(struct share_conn *c, struct err *e)
{
    if (!share_conn_lost(c))
        return 0;
    return err_set(e, ERR_LOST, 0, "the connection to the server was lost");
}

/* ---- MNT, EXPORT ---- */

struct proc_mounted {
    mountstat3 status;
    struct share_fh *root;
    bool has_fh, sys;
    char flavours[64]; /* what it takes instead of AUTH_SYS */
};

/* RFC 5531 and 2623 have the numbers. */
static const char *proc_flavour_name(int flavour)
{
    switch (flavour) {
    case 0: return "none";
    case 390003: return "krb5";
    case 390004: return "krb5i";
    case 390005: return "krb5p";
    default: return "another";
    }
}

static void take_mount(struct share_call *call, void *data)
{
    struct proc_mounted *a = call->to;
    const mountres3 *res = data;
    a->status = res->fhs_status;
    if (res->fhs_status != MNT3_OK)
        return;
    const mountres3_ok *ok = &res->mountres3_u.mountinfo;
    a->sys = ok->auth_flavors.auth_flavors_len == 0;
    for (u_int i = 0; i < ok->auth_flavors.auth_flavors_len; i++) {
        int flavour = ok->auth_flavors.auth_flavors_val[i];
        size_t len = strlen(a->flavours);
        a->sys = a->sys || flavour == AUTH_UNIX;
        snprintf(a->flavours + len, sizeof a->flavours - len, "%s%s", len > 0 ? ", " : "",
                 proc_flavour_name(flavour));
    }
    a->has_fh = proc_take_fh(a->root, ok->fhandle.fhandle3_len, ok->fhandle.fhandle3_val);
}

int share_proc_mount(struct share_conn *c, const char *path, struct share_fh *root,
                     int64_t deadline_ns, struct err *e)
{
    struct proc_mounted a = {.root = root};
    struct share_call call = {.take = take_mount, .to = &a};
    if (proc_begin(c, e) < 0)
        return -1;
    bool queued = COMPAT_CALL(mount3_mnt, share_conn_rpc(c), share_conn_answered,
                              (char *)(uintptr_t)path, share_conn_slot(c, &call));
    if (share_conn_wait(c, &call, queued, deadline_ns, e) < 0)
        return -1;
    if (a.status != MNT3_OK) /* RFC 1813 gives both kinds of status the same numbers */
        return err_set(e, ERR_REFUSED, share_conn_errno((nfsstat3)a.status),
                       "the server refuses to mount %s", path);
    if (!a.sys) {
        err_set(e, ERR_REFUSED, 0,
                "the server refuses to mount %s for AUTH_SYS: the export takes only %s", path,
                a.flavours);
        e->sys = EPROTONOSUPPORT;
        return err_hint(
            e, "godwit does not speak Kerberos: add 'sec=sys' to the export's options, for "
               "this host (sec=krb5:sys; ganesha: SecType = sys, krb5)");
    }
    if (!a.has_fh)
        return err_set(e, ERR_PROTO, 0, "the server's answer to the mount has no handle");
    return 0;
}

struct proc_exports {
    share_export_fn *fn;
    void *arg;
};

/* libnfs 4 does not align what it decodes: each node is copied. */
static void take_exports(struct share_call *call, void *data)
{
    const struct proc_exports *x = call->to;
    const void *at;
    exportnode node;
    groupnode group;
    memcpy(&at, data, sizeof at);
    for (bool more = true; at != NULL && more; at = node.ex_next) {
        char clients[256] = "";
        memcpy(&node, at, sizeof node);
        const void *next = node.ex_groups;
        for (size_t len = 0; next != NULL && len < sizeof clients - 1; next = group.gr_next) {
            memcpy(&group, next, sizeof group);
            snprintf(clients + len, sizeof clients - len, "%s%s", len > 0 ? ", " : "",
                     group.gr_name);
            len = strlen(clients);
        }
        more = x->fn(x->arg, node.ex_dir, clients);
    }
}

int share_proc_exports(struct share_conn *c, share_export_fn *fn, void *arg, int64_t deadline_ns,
                       struct err *e)
{
    struct proc_exports x = {fn, arg};
    struct share_call call = {.take = take_exports, .to = &x};
    if (proc_begin(c, e) < 0)
        return -1;
    bool queued = COMPAT_NULL(mount3_export, share_conn_rpc(c), share_conn_answered,
                              share_conn_slot(c, &call));
    return share_conn_wait(c, &call, queued, deadline_ns, e);
}

/* ---- FSINFO, FSSTAT, GETATTR, LOOKUP, READLINK ---- */

static void take_fsinfo(struct share_call *call, void *data)
{
    struct proc_answer *a = call->to;
    const FSINFO3res *res = data;
    a->status = res->status;
    if (res->status != NFS3_OK)
        return;
    a->limits->read_max_bytes = res->FSINFO3res_u.resok.rtmax;
    a->limits->write_max_bytes = res->FSINFO3res_u.resok.wtmax;
}

int share_proc_fsinfo(struct share_conn *c, const struct share_fh *root,
                      struct share_limits *limits, int64_t deadline_ns, struct err *e)
{
    struct proc_answer a = {.limits = limits};
    struct share_call call = {.take = take_fsinfo, .to = &a};
    FSINFO3args args = {.fsroot = proc_fh(root)};
    if (proc_begin(c, e) < 0)
        return -1;
    bool queued = COMPAT_CALL(nfs3_fsinfo, share_conn_rpc(c), share_conn_answered, &args,
                              share_conn_slot(c, &call));
    return proc_finish(c, &call, queued, deadline_ns, e);
}

static void take_fsstat(struct share_call *call, void *data)
{
    struct proc_answer *a = call->to;
    const FSSTAT3res *res = data;
    a->status = res->status;
    if (res->status == NFS3_OK)
        /* a file system without a size does not count its room: not the same as full */
        *a->free_bytes = res->FSSTAT3res_u.resok.tbytes > 0 ? res->FSSTAT3res_u.resok.abytes
                                                            : UINT64_MAX;
}

int share_proc_fsstat(struct share_conn *c, const struct share_fh *root, uint64_t *free_bytes,
                      int64_t deadline_ns, struct err *e)
{
    struct proc_answer a = {.free_bytes = free_bytes};
    struct share_call call = {.take = take_fsstat, .to = &a};
    FSSTAT3args args = {.fsroot = proc_fh(root)};
    if (proc_begin(c, e) < 0)
        return -1;
    bool queued = COMPAT_CALL(nfs3_fsstat, share_conn_rpc(c), share_conn_answered, &args,
                              share_conn_slot(c, &call));
    return proc_finish(c, &call, queued, deadline_ns, e);
}

static void take_getattr(struct share_call *call, void *data)
{
    struct proc_answer *a = call->to;
    const GETATTR3res *res = data;
    a->status = res->status;
    if (res->status == NFS3_OK)
        share_proc_take_attr(a->entry, &res->GETATTR3res_u.resok.obj_attributes);
}

int share_proc_getattr(struct share_conn *c, struct share_entry *entry, int64_t deadline_ns,
                       struct err *e)
{
    struct proc_answer a = {.entry = entry};
    struct share_call call = {.take = take_getattr, .to = &a};
    GETATTR3args args = {.object = proc_fh(&entry->fh)};
    if (proc_begin(c, e) < 0)
        return -1;
    bool queued = COMPAT_CALL(nfs3_getattr, share_conn_rpc(c), share_conn_answered, &args,
                              share_conn_slot(c, &call));
    if (proc_finish(c, &call, queued, deadline_ns, e) < 0)
        return -1;
    share_proc_identify(entry);
    return 0;
}

static void take_lookup(struct share_call *call, void *data)
{
    struct proc_answer *a = call->to;
    const LOOKUP3res *res = data;
    a->status = res->status;
    if (res->status != NFS3_OK)
        return;
    const LOOKUP3resok *ok = &res->LOOKUP3res_u.resok;
    const post_op_fh3 fh = {.handle_follows = 1, .post_op_fh3_u.handle = ok->object};
    proc_take_entry(a, &fh, &ok->obj_attributes);
    if (!a->has_fh)
        a->status = NFS3ERR_BADHANDLE;
}

int share_proc_lookup(struct share_conn *c, const struct share_fh *dir, const char *name,
                      struct share_entry *entry, int64_t deadline_ns, struct err *e)
{
    struct proc_answer a = {.entry = entry};
    struct share_call call = {.take = take_lookup, .to = &a};
    LOOKUP3args args = {.what = proc_where(dir, name)};
    if (proc_begin(c, e) < 0)
        return -1;
    bool queued = COMPAT_CALL(nfs3_lookup, share_conn_rpc(c), share_conn_answered, &args,
                              share_conn_slot(c, &call));
    if (proc_finish(c, &call, queued, deadline_ns, e) < 0) {
        if (a.status != NFS3ERR_NOENT || e->class != ERR_NFS)
            return -1;
        err_clear(e);
        return 0;
    }
    return a.has_attr || share_proc_getattr(c, entry, deadline_ns, e) == 0 ? 1 : -1;
}

static void take_readlink(struct share_call *call, void *data)
{
    struct proc_answer *a = call->to;
    const READLINK3res *res = data;
    a->status = res->status;
    if (res->status != NFS3_OK)
        return;
    const char *target = res->READLINK3res_u.resok.data;
    if (strlen(target) < PATH_MAX)
        strcpy(a->target, target);
    else
        a->status = NFS3ERR_NAMETOOLONG;
}

int share_proc_readlink(struct share_conn *c, const struct share_fh *link, char target[PATH_MAX],
                        int64_t deadline_ns, struct err *e)
{
    struct proc_answer a = {.target = target};
    struct share_call call = {.take = take_readlink, .to = &a};
    READLINK3args args = {.symlink = proc_fh(link)};
    if (proc_begin(c, e) < 0)
        return -1;
    bool queued = COMPAT_CALL(nfs3_readlink, share_conn_rpc(c), share_conn_answered, &args,
                              share_conn_slot(c, &call));
    return proc_finish(c, &call, queued, deadline_ns, e);
}

/* ---- CREATE, MKDIR, SETATTR, RENAME, REMOVE, RMDIR ---- */

static void take_create(struct share_call *call, void *data)
{
    struct proc_answer *a = call->to;
    const CREATE3res *res = data;
    a->status = res->status;
    if (res->status == NFS3_OK)
        proc_take_entry(a, &res->CREATE3res_u.resok.obj, &res->CREATE3res_u.resok.obj_attributes);
}

static void take_mkdir(struct share_call *call, void *data)
{
    struct proc_answer *a = call->to;
    const MKDIR3res *res = data;
    a->status = res->status;
    if (res->status == NFS3_OK)
        proc_take_entry(a, &res->MKDIR3res_u.resok.obj, &res->MKDIR3res_u.resok.obj_attributes);
}

/* Handle and attributes of what was made are optional: what was left out is asked for. */
static int proc_complete(struct share_conn *c, const struct proc_answer *a,
                         const struct share_fh *dir, const char *name, int64_t deadline_ns,
                         struct err *e)
{
    if (!a->has_fh) {
        int found = share_proc_lookup(c, dir, name, a->entry, deadline_ns, e);
        return found == 0 ? err_set(e, ERR_NFS, ENOENT, "made, and gone") : found < 0 ? -1 : 0;
    }
    return a->has_attr ? 0 : share_proc_getattr(c, a->entry, deadline_ns, e);
}

int share_proc_create(struct share_conn *c, const struct share_fh *dir, const char *name,
                      uint64_t size_bytes, struct share_entry *entry, int64_t deadline_ns,
                      struct err *e)
{
    struct proc_answer a = {.entry = entry};
    struct share_call call = {.take = take_create, .to = &a};
    CREATE3args args = {.where = proc_where(dir, name)};
    args.how.mode = GUARDED;
    sattr3 *attr = &args.how.createhow3_u.g_obj_attributes;
    attr->mode.set_it = 1;
    attr->mode.set_mode3_u.mode = 0600;
    attr->size.set_it = 1;
    attr->size.set_size3_u.size = size_bytes;
    if (proc_begin(c, e) < 0)
        return -1;
    bool queued = COMPAT_CALL(nfs3_create, share_conn_rpc(c), share_conn_answered, &args,
                              share_conn_slot(c, &call));
    if (proc_finish(c, &call, queued, deadline_ns, e) < 0)
        return -1;
    return proc_complete(c, &a, dir, name, deadline_ns, e);
}

int share_proc_mkdir(struct share_conn *c, const struct share_fh *dir, const char *name,
                     struct share_entry *entry, int64_t deadline_ns, struct err *e)
{
    struct proc_answer a = {.entry = entry};
    struct share_call call = {.take = take_mkdir, .to = &a};
    MKDIR3args args = {.where = proc_where(dir, name)};
    args.attributes.mode.set_it = 1;
    args.attributes.mode.set_mode3_u.mode = 0700;
    if (proc_begin(c, e) < 0)
        return -1;
    bool queued = COMPAT_CALL(nfs3_mkdir, share_conn_rpc(c), share_conn_answered, &args,
                              share_conn_slot(c, &call));
    if (proc_finish(c, &call, queued, deadline_ns, e) < 0)
        return -1;
    return proc_complete(c, &a, dir, name, deadline_ns, e);
}

static void take_setattr(struct share_call *call, void *data)
{
    ((struct proc_answer *)call->to)->status = ((const SETATTR3res *)data)->status;
}

static int proc_setattr(struct share_conn *c, SETATTR3args *args, int64_t deadline_ns,
                        struct err *e)
{
    struct proc_answer a = {0};
    struct share_call call = {.take = take_setattr, .to = &a};
    if (proc_begin(c, e) < 0)
        return -1;
    bool queued = COMPAT_CALL(nfs3_setattr, share_conn_rpc(c), share_conn_answered, args,
                              share_conn_slot(c, &call));
    return proc_finish(c, &call, queued, deadline_ns, e);
}

int share_proc_set_size(struct share_conn *c, const struct share_fh *fh, uint64_t size_bytes,
                        int64_t deadline_ns, struct err *e)
{
    SETATTR3args args = {.object = proc_fh(fh)};
    args.new_attributes.size.set_it = 1;
    args.new_attributes.size.set_size3_u.size = size_bytes;
    return proc_setattr(c, &args, deadline_ns, e);
}

int share_proc_setattr(struct share_conn *c, const struct share_fh *fh,
                       const struct store_attr *attr, bool owner, int64_t deadline_ns,
                       struct err *e)
{
    SETATTR3args args = {.object = proc_fh(fh)};
    sattr3 *a = &args.new_attributes;
    a->mode.set_it = 1;
    a->mode.set_mode3_u.mode = attr->mode;
    a->uid.set_it = a->gid.set_it = owner;
    a->uid.set_uid3_u.uid = attr->uid;
    a->gid.set_gid3_u.gid = attr->gid;
    a->atime.set_it = a->mtime.set_it = SET_TO_CLIENT_TIME;
    a->atime.set_atime_u.atime = proc_time(attr->atime_ns);
    a->mtime.set_mtime_u.mtime = proc_time(attr->mtime_ns);
    return proc_setattr(c, &args, deadline_ns, e);
}

static void take_rename(struct share_call *call, void *data)
{
    ((struct proc_answer *)call->to)->status = ((const RENAME3res *)data)->status;
}

int share_proc_rename(struct share_conn *c, const struct share_fh *dir, const char *from,
                      const char *to, int64_t deadline_ns, struct err *e)
{
    struct proc_answer a = {0};
    struct share_call call = {.take = take_rename, .to = &a};
    RENAME3args args = {.from = proc_where(dir, from), .to = proc_where(dir, to)};
    if (proc_begin(c, e) < 0)
        return -1;
    bool queued = COMPAT_CALL(nfs3_rename, share_conn_rpc(c), share_conn_answered, &args,
                              share_conn_slot(c, &call));
    return proc_finish(c, &call, queued, deadline_ns, e);
}

static void take_link(struct share_call *call, void *data)
{
    ((struct proc_answer *)call->to)->status = ((const LINK3res *)data)->status;
}

int share_proc_link(struct share_conn *c, const struct share_fh *file, const struct share_fh *dir,
                    const char *name, int64_t deadline_ns, struct err *e)
{
    struct proc_answer a = {0};
    struct share_call call = {.take = take_link, .to = &a};
    LINK3args args = {.file = proc_fh(file), .link = proc_where(dir, name)};
    if (proc_begin(c, e) < 0)
        return -1;
    bool queued = COMPAT_CALL(nfs3_link, share_conn_rpc(c), share_conn_answered, &args,
                              share_conn_slot(c, &call));
    return proc_finish(c, &call, queued, deadline_ns, e);
}

static void take_remove(struct share_call *call, void *data)
{
    ((struct proc_answer *)call->to)->status = ((const REMOVE3res *)data)->status;
}

int share_proc_remove(struct share_conn *c, const struct share_fh *dir, const char *name,
                      int64_t deadline_ns, struct err *e)
{
    struct proc_answer a = {0};
    struct share_call call = {.take = take_remove, .to = &a};
    REMOVE3args args = {.object = proc_where(dir, name)};
    if (proc_begin(c, e) < 0)
        return -1;
    bool queued = COMPAT_CALL(nfs3_remove, share_conn_rpc(c), share_conn_answered, &args,
                              share_conn_slot(c, &call));
    return proc_finish(c, &call, queued, deadline_ns, e);
}

static void take_rmdir(struct share_call *call, void *data)
{
    ((struct proc_answer *)call->to)->status = ((const RMDIR3res *)data)->status;
}

int share_proc_rmdir(struct share_conn *c, const struct share_fh *dir, const char *name,
                     int64_t deadline_ns, struct err *e)
{
    struct proc_answer a = {0};
    struct share_call call = {.take = take_rmdir, .to = &a};
    RMDIR3args args = {.object = proc_where(dir, name)};
    if (proc_begin(c, e) < 0)
        return -1;
    bool queued = COMPAT_CALL(nfs3_rmdir, share_conn_rpc(c), share_conn_answered, &args,
                              share_conn_slot(c, &call));
    return proc_finish(c, &call, queued, deadline_ns, e);
}
