/* SPDX-License-Identifier: Apache-2.0 */
#include "nfs/share_proc.h"

#include <errno.h>
#include <string.h>

#include "core/clock.h"

/* What take() gets: where to put the answer, and what the server's status was. */
struct proc_answer {
    nfsstat3 status;
    struct share_entry *entry;
    bool complete; /* *entry has both handle and attributes */
    struct share_fh *root;
    struct store_attr *attr;
    struct share_limits *limits;
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

static nfstime3 proc_time(int64_t ns)
{
    return (nfstime3){.seconds = (u_int)(ns / NS_PER_S), .nseconds = (u_int)(ns % NS_PER_S)};
}

static void proc_take_attr(struct store_attr *to, const fattr3 *a)
{
    *to = (struct store_attr){
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

/* ---- MNT ---- */

static void take_mount(struct share_call *call, void *data)
{
    struct proc_answer *a = call->to;
    const mountres3 *res = data;
    a->status = (nfsstat3)res->fhs_status; /* RFC 1813 gives both the same numbers */
    if (res->fhs_status != MNT3_OK)
        return;
    const mountres3_ok *ok = &res->mountres3_u.mountinfo;
    bool sys = ok->auth_flavors.auth_flavors_len == 0;
    for (u_int i = 0; i < ok->auth_flavors.auth_flavors_len; i++)
        sys = sys || ok->auth_flavors.auth_flavors_val[i] == AUTH_UNIX;
    if (!sys)
        a->status = NFS3ERR_ACCES;
    else
        a->complete = proc_take_fh(a->root, ok->fhandle.fhandle3_len, ok->fhandle.fhandle3_val);
}

int share_proc_mount(struct share_conn *c, const char *path, struct share_fh *root,
                     int64_t deadline_ns, struct err *e)
{
    struct proc_answer a = {.root = root};
    struct share_call call = {.take = take_mount, .to = &a};
    if (proc_begin(c, e) < 0)
        return -1;
    bool queued = COMPAT_CALL(mount3_mnt, share_conn_rpc(c), share_conn_answered,
                              (char *)(uintptr_t)path, &call);
    if (share_conn_wait(c, &call, queued, deadline_ns, e) < 0)
        return -1;
    if (a.status != NFS3_OK)
        return err_set(e, ERR_REFUSED, share_conn_errno(a.status),
                       "the server refuses the mount");
    if (!a.complete)
        return err_set(e, ERR_PROTO, 0, "the server's answer to the mount has no handle");
    return 0;
}

/* ---- FSINFO, GETATTR, LOOKUP ---- */

static void take_fsinfo(struct share_call *call, void *data)
{
    struct proc_answer *a = call->to;
    const FSINFO3res *res = data;
    a->status = res->status;
    if (res->status == NFS3_OK)
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
    bool queued = COMPAT_CALL(nfs3_fsinfo, share_conn_rpc(c), share_conn_answered, &args, &call);
    return proc_finish(c, &call, queued, deadline_ns, e);
}

static void take_getattr(struct share_call *call, void *data)
{
    struct proc_answer *a = call->to;
    const GETATTR3res *res = data;
    a->status = res->status;
    if (res->status == NFS3_OK)
        proc_take_attr(a->attr, &res->GETATTR3res_u.resok.obj_attributes);
}

int share_proc_getattr(struct share_conn *c, const struct share_fh *fh, struct store_attr *attr,
                       int64_t deadline_ns, struct err *e)
{
    struct proc_answer a = {.attr = attr};
    struct share_call call = {.take = take_getattr, .to = &a};
    GETATTR3args args = {.object = proc_fh(fh)};
    if (proc_begin(c, e) < 0)
        return -1;
    bool queued = COMPAT_CALL(nfs3_getattr, share_conn_rpc(c), share_conn_answered, &args, &call);
    return proc_finish(c, &call, queued, deadline_ns, e);
}

static void take_lookup(struct share_call *call, void *data)
{
    struct proc_answer *a = call->to;
    const LOOKUP3res *res = data;
    a->status = res->status;
    if (res->status != NFS3_OK)
        return;
    const LOOKUP3resok *ok = &res->LOOKUP3res_u.resok;
    if (!proc_take_fh(&a->entry->fh, ok->object.data.data_len, ok->object.data.data_val))
        a->status = NFS3ERR_BADHANDLE;
}

/* The attributes that come with a LOOKUP are optional: they are always asked for. */
int share_proc_lookup(struct share_conn *c, const struct share_fh *dir, const char *name,
                      struct share_entry *entry, int64_t deadline_ns, struct err *e)
{
    struct proc_answer a = {.entry = entry};
    struct share_call call = {.take = take_lookup, .to = &a};
    LOOKUP3args args = {.what = proc_where(dir, name)};
    if (proc_begin(c, e) < 0)
        return -1;
    bool queued = COMPAT_CALL(nfs3_lookup, share_conn_rpc(c), share_conn_answered, &args, &call);
    if (proc_finish(c, &call, queued, deadline_ns, e) < 0) {
        if (a.status != NFS3ERR_NOENT || e->class != ERR_NFS)
            return -1;
        err_clear(e);
        return 0;
    }
    return share_proc_getattr(c, &entry->fh, &entry->attr, deadline_ns, e) < 0 ? -1 : 1;
}

/* ---- CREATE, SETATTR, RENAME, REMOVE ---- */

static void take_create(struct share_call *call, void *data)
{
    struct proc_answer *a = call->to;
    const CREATE3res *res = data;
    a->status = res->status;
    if (res->status != NFS3_OK)
        return;
    const post_op_fh3 *obj = &res->CREATE3res_u.resok.obj;
    a->complete = obj->handle_follows &&
                  proc_take_fh(&a->entry->fh, obj->post_op_fh3_u.handle.data.data_len,
                               obj->post_op_fh3_u.handle.data.data_val);
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
    bool queued = COMPAT_CALL(nfs3_setattr, share_conn_rpc(c), share_conn_answered, args, &call);
    return proc_finish(c, &call, queued, deadline_ns, e);
}

static int proc_set_size(struct share_conn *c, const struct share_fh *fh, uint64_t size_bytes,
                         int64_t deadline_ns, struct err *e)
{
    SETATTR3args args = {.object = proc_fh(fh)};
    args.new_attributes.size.set_it = 1;
    args.new_attributes.size.set_size3_u.size = size_bytes;
    return proc_setattr(c, &args, deadline_ns, e);
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
    if (proc_begin(c, e) < 0)
        return -1;
    bool queued = COMPAT_CALL(nfs3_create, share_conn_rpc(c), share_conn_answered, &args, &call);
    if (proc_finish(c, &call, queued, deadline_ns, e) < 0)
        return -1;
    if (!a.complete && share_proc_lookup(c, dir, name, entry, deadline_ns, e) <= 0)
        return e->class != ERR_NONE ? -1 : err_set(e, ERR_NFS, ENOENT, "created, and gone");
    if (proc_set_size(c, &entry->fh, size_bytes, deadline_ns, e) < 0)
        return -1;
    return share_proc_getattr(c, &entry->fh, &entry->attr, deadline_ns, e);
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
    bool queued = COMPAT_CALL(nfs3_rename, share_conn_rpc(c), share_conn_answered, &args, &call);
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
    bool queued = COMPAT_CALL(nfs3_remove, share_conn_rpc(c), share_conn_answered, &args, &call);
    return proc_finish(c, &call, queued, deadline_ns, e);
}
