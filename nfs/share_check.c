/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * Each user gets a connection of its own, whose credentials are set after it was made. What is
 * asked on it is what QEMU's own NFS driver would ask: no kernel client stands between.
 *
 * A client cannot see whether an export is "sync" or "async" (Linux' word for a server that says
 * "durable" before it is): both answer alike. What can be measured is what a durable write costs
 * beside a question that needs no disk.
 */
#include "nfs/share_check.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "core/clock.h"
#include "core/log.h"
#include "core/units.h"
#include "nfs/share_control.h"
#include "nfs/share_cred.h"
#include "nfs/share_names.h"
#include "nfs/share_proc.h"

#define CHECK_NS (10 * NS_PER_S) /* for each question */
#define CHECK_TIMEOUT_NS (5 * NS_PER_S)
#define CHECK_SKEW_MAX_NS (1 * NS_PER_S)

enum {
    CHECK_FULL_BYTES = 1 << 20,
    CHECK_TIGHT_BYTES = 1 << 30,
    CHECK_IO_SMALL = 64 << 10,
    CHECK_WRITES = 7,
    CHECK_BLOCK = 4096,
};

struct share_check {
    struct ring *ring;
    struct store_place *place;
    char what[80];
};

static int64_t check_deadline(void)
{
    return clock_now_ns() + CHECK_NS;
}

struct share_check *share_check_open(struct ring *ring, const char *url,
                                     const volatile sig_atomic_t *cancel, struct err *e)
{
    const struct share_options options = {.timeout_ns = CHECK_TIMEOUT_NS, .cancel = cancel};
    struct share_check *s = calloc(1, sizeof *s);
    if (s == NULL) {
        err_set(e, ERR_NFS, ENOMEM, "%s", url);
        return NULL;
    }
    s->ring = ring;
    s->place = share_open(ring, url, &options, e);
    if (s->place == NULL) {
        free(s);
        return NULL;
    }
    snprintf(s->what, sizeof s->what, "share %.60s", s->place->url);
    return s;
}

void share_check_close(struct share_check *s)
{
    if (s == NULL)
        return;
    s->place->ops->place_close(s->place);
    free(s);
}

static const char *check_what(const struct share_check *s, char what[80], const char *topic)
{
    snprintf(what, 80, "%.60s: %s", s->what, topic);
    return what;
}

/* A connection that speaks as `user`. */
static struct share_conn *check_connect(struct share_check *s, const struct share_user *user,
                                        struct err *e)
{
    struct share_conn *c =
        share_control_connect(share_of(s->place), NFS_PROGRAM, check_deadline(), e);
    if (c == NULL)
        return NULL;
    /* Without groups, as QEMU's NFS driver speaks. */
    const struct codec_cred cred = {.uid = user->uid, .gid = user->gid, .machine = "libnfs"};
    share_cred_give(share_conn_rpc(c), &cred);
    return c;
}

/* ---- room and sizes ---- */

void share_check_room(struct share_check *s, uint64_t need_bytes, struct check_list *l)
{
    char what[80], has[UNITS_TEXT_MAX], need[UNITS_TEXT_MAX], r[UNITS_TEXT_MAX], w[UNITS_TEXT_MAX];
    uint64_t free_bytes = s->place->free_bytes;
    check_what(s, what, "free space");
    units_format_size(has, free_bytes);
    units_format_size(need, need_bytes);
    if (free_bytes == UINT64_MAX)
        check_list_add(l, CHECK_SKIPPED, what, "the server does not report it");
    else if (free_bytes < CHECK_FULL_BYTES || free_bytes < need_bytes)
        check_list_add(l, CHECK_REFUSE, what, "%s are free, and %s are needed", has,
                       need_bytes > 0 ? need : "some");
    else
        check_list_add(l, free_bytes - need_bytes < CHECK_TIGHT_BYTES ? CHECK_WARN : CHECK_OK, what,
                       "%s are free, and %s are needed", has, need);
    if (l->n > 0 && l->at[l->n - 1].verdict != CHECK_OK)
        check_list_fix(l, "ssh root@%s df -h", share_of(s->place)->url.host);

    struct share_limits limits;
    struct err e = {0};
    struct share_place *p = share_of(s->place);
    check_what(s, what, "rsize, wsize");
    if (p->control == NULL ||
        share_proc_fsinfo(p->control, &p->root, &limits, check_deadline(), &e) < 0) {
        check_list_add(l, CHECK_SKIPPED, what, "%s", e.class != ERR_NONE ? e.msg : "not connected");
        return;
    }
    bool small = limits.read_max_bytes < CHECK_IO_SMALL || limits.write_max_bytes < CHECK_IO_SMALL;
    check_list_add(l, small ? CHECK_WARN : CHECK_OK, what,
                   "the server reads %s and writes %s at once (NFSv3; QEMU's and godwit's clients "
                   "take that, and are hard: they never give a write up)",
                   units_format_size(r, limits.read_max_bytes),
                   units_format_size(w, limits.write_max_bytes));
}

/* ---- writing ---- */

void share_check_marker(char name[SHARE_CHECK_NAME])
{
    uint64_t n = 0;
    if (getrandom(&n, sizeof n, 0) != sizeof n)
        n = (uint64_t)clock_now_ns();
    snprintf(name, SHARE_CHECK_NAME, ".godwit-check-%016" PRIx64, n);
}

struct check_written {
    nfsstat3 status;
    stable_how committed;
};

static void take_write(struct share_call *call, void *data)
{
    struct check_written *w = call->to;
    const WRITE3res *res = data;
    w->status = res->status;
    if (res->status == NFS3_OK)
        w->committed = res->WRITE3res_u.resok.committed;
}

static int check_write(struct share_conn *c, const struct share_fh *fh, stable_how how,
                       stable_how *committed, struct err *e)
{
    char block[CHECK_BLOCK] = "godwit check\n";
    struct check_written w = {0};
    struct share_call call = {.take = take_write, .to = &w};
    WRITE3args args = {
        .file = {.data = {.data_len = fh->len, .data_val = (char *)(uintptr_t)fh->val}},
        .count = sizeof block,
        .stable = how,
        .data = {.data_len = sizeof block, .data_val = block},
    };
    if (share_conn_lost(c))
        return err_set(e, ERR_LOST, 0, "the connection to the server was lost");
    bool queued = COMPAT_CALL(nfs3_write, share_conn_rpc(c), share_conn_answered, &args,
                              share_conn_slot(c, &call));
    if (share_conn_wait(c, &call, queued, check_deadline(), e) < 0)
        return -1;
    *committed = w.committed;
    return w.status == NFS3_OK ? 0
                               : err_set(e, ERR_NFS, share_conn_errno(w.status), "cannot write");
}

static int check_by_ns(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* The medians of a durable write and of a GETATTR. */
static int check_times(struct share_conn *c, struct share_entry *f, int64_t *write_ns,
                       int64_t *ask_ns, struct err *e)
{
    int64_t writes[CHECK_WRITES], asks[CHECK_WRITES];
    stable_how committed;
    for (int i = 0; i < CHECK_WRITES; i++) {
        int64_t before_ns = clock_now_ns();
        if (check_write(c, &f->fh, FILE_SYNC, &committed, e) < 0)
            return -1;
        int64_t between_ns = clock_now_ns();
        if (share_proc_getattr(c, f, check_deadline(), e) < 0)
            return -1;
        writes[i] = between_ns - before_ns;
        asks[i] = clock_now_ns() - between_ns;
    }
    qsort(writes, CHECK_WRITES, sizeof *writes, check_by_ns);
    qsort(asks, CHECK_WRITES, sizeof *asks, check_by_ns);
    *write_ns = writes[CHECK_WRITES / 2];
    *ask_ns = asks[CHECK_WRITES / 2];
    return 0;
}

static bool check_is_quick(int64_t write_ns, int64_t ask_ns)
{
    return write_ns < 2 * ask_ns;
}

static void check_durability(struct share_check *s, struct share_conn *c, struct share_entry *f,
                             struct check_list *l)
{
    char what[80];
    struct err e = {0};
    stable_how committed = UNSTABLE;
    int64_t write_ns, ask_ns;
    check_what(s, what, "sync or async");
    if (check_write(c, &f->fh, UNSTABLE, &committed, &e) < 0 ||
        check_times(c, f, &write_ns, &ask_ns, &e) < 0) {
        check_list_add(l, CHECK_SKIPPED, what, "%s", e.msg);
        return;
    }
    bool quick = check_is_quick(write_ns, ask_ns);
    check_list_add(l, quick ? CHECK_WARN : CHECK_OK, what,
                   "a client cannot see it; a durable write takes %.2f ms, a question without a "
                   "disk %.2f ms%s; plain writes come back %s",
                   (double)write_ns / 1e6, (double)ask_ns / 1e6,
                   quick ? ": as with memory, a battery-backed cache, or async" : "",
                   committed == UNSTABLE ? "unstable, and are committed later" : "durable at once");
    if (quick)
        check_list_fix(l, "ssh root@%s exportfs -v  # has to say sync",
                       share_of(s->place)->url.host);
}

static void check_clock(struct share_check *s, const struct share_entry *f, int64_t before_ns,
                        int64_t after_ns, struct check_list *l)
{
    char what[80];
    check_what(s, what, "clock");
    int64_t skew_ns = f->attr.mtime_ns < before_ns  ? f->attr.mtime_ns - before_ns
                      : f->attr.mtime_ns > after_ns ? f->attr.mtime_ns - after_ns
                                                    : 0;
    bool far = skew_ns > CHECK_SKEW_MAX_NS || skew_ns < -CHECK_SKEW_MAX_NS;
    check_list_add(l, far ? CHECK_WARN : CHECK_OK, what, "the server is within %.2f s of this host",
                   (double)(skew_ns < 0 ? -skew_ns : skew_ns) / 1e9);
    if (far)
        check_list_fix(l, "ssh root@%s chronyc makestep", share_of(s->place)->url.host);
}

static void check_fix_export(struct share_check *s, struct check_list *l)
{
    const struct share_url *url = &share_of(s->place)->url;
    check_list_fix(l,
                   "ssh root@%s exportfs -o rw,sync,no_root_squash CLIENT:%s  # and in "
                   "/etc/exports; ganesha: Squash = No_Root_Squash, Access_Type = RW",
                   url->host, url->path);
}

/* Of a file that `user` has made. Root is a matter of its own: libvirt changes owners as root. */
static void check_owner(struct share_check *s, const struct share_user *user,
                        const struct share_entry *f, bool is_qemu, struct check_list *l)
{
    char what[80];
    check_what(s, what, is_qemu ? "writable by QEMU" : "root");
    if (f->attr.uid == user->uid) {
        check_list_add(l, CHECK_OK, what, "user %u:%u has made a file, and it is its own%s",
                       user->uid, user->gid, user->uid == 0 ? ": root is not squashed" : "");
        return;
    }
    check_list_add(l, is_qemu ? CHECK_REFUSE : CHECK_WARN, what,
                   "root_squash: what user %u:%u makes there is %u:%u's%s", user->uid, user->gid,
                   f->attr.uid, f->attr.gid,
                   is_qemu ? ", and images of others are closed to QEMU"
                           : ", so libvirt cannot give images to QEMU's user");
    check_fix_export(s, l);
}

static void check_cannot(struct share_check *s, const struct share_user *user, bool is_qemu,
                         const struct err *e, struct check_list *l)
{
    char what[80];
    check_what(s, what, is_qemu ? "writable by QEMU" : "root");
    check_list_add(l, is_qemu ? CHECK_REFUSE : CHECK_WARN, what,
                   "user %u:%u cannot make a file: %s", user->uid, user->gid,
                   e->sys == EROFS                      ? "the export is read-only"
                   : e->sys == EACCES && user->uid == 0 ? "root is squashed to a user who may not"
                   : e->sys != 0                        ? strerror(e->sys)
                                                        : e->msg);
    check_fix_export(s, l);
}

static int64_t check_now_real_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

static void check_remove(struct share_check *s, struct share_conn *c, const char *name,
                         struct check_list *l)
{
    struct err e = {0};
    if (share_proc_remove(c, &share_of(s->place)->root, name, check_deadline(), &e) == 0)
        return;
    check_list_add(l, CHECK_WARN, s->what, "%s could not be removed: %s", name, e.msg);
    check_list_fix(l, "ssh root@%s rm %s/%s", share_of(s->place)->url.host,
                   share_of(s->place)->url.path, name);
}

static void check_write_as(struct share_check *s, const struct share_user *user, bool is_qemu,
                           struct check_list *l)
{
    char name[SHARE_CHECK_NAME];
    struct err e = {0};
    struct share_entry f;
    share_check_marker(name);
    struct share_conn *c = check_connect(s, user, &e);
    int64_t before_ns = check_now_real_ns();
    if (c == NULL ||
        share_proc_create(c, &share_of(s->place)->root, name, 0, &f, check_deadline(), &e) < 0) {
        check_cannot(s, user, is_qemu, &e, l);
        share_conn_close(c);
        return;
    }
    int64_t after_ns = check_now_real_ns();
    check_owner(s, user, &f, is_qemu, l);
    if (is_qemu) {
        check_clock(s, &f, before_ns, after_ns, l);
        check_durability(s, c, &f, l);
    }
    check_remove(s, c, name, l);
    share_conn_close(c);
}

void share_check_write(struct share_check *s, const struct share_user *user, struct check_list *l)
{
    static const struct share_user root = {0, 0};
    check_write_as(s, user, true, l);
    if (user->uid != root.uid)
        check_write_as(s, &root, false, l);
}

int share_check_is_quick(struct share_check *s, const struct share_user *user, struct err *e)
{
    char name[SHARE_CHECK_NAME];
    struct share_entry f;
    struct err left = {0};
    int64_t write_ns = 0, ask_ns = 0;
    const struct share_fh *root = &share_of(s->place)->root;
    share_check_marker(name);
    struct share_conn *c = check_connect(s, user, e);
    if (c == NULL)
        return -1;
    int rc = share_proc_create(c, root, name, 0, &f, check_deadline(), e);
    if (rc == 0) {
        rc = check_times(c, &f, &write_ns, &ask_ns, e);
        if (share_proc_remove(c, root, name, check_deadline(), &left) < 0)
            log_warn("%s%s could not be removed: %s", s->place->url, name, left.msg);
    }
    share_conn_close(c);
    return rc < 0 ? err_wrap(e, "%s%s", s->place->url, name) : check_is_quick(write_ns, ask_ns);
}

/* ---- an image, and another host's marker ---- */

static void take_access(struct share_call *call, void *data)
{
    const ACCESS3res *res = data;
    *(uint32_t *)call->to = res->status == NFS3_OK ? res->ACCESS3res_u.resok.access : 0;
}

static int check_access(struct share_conn *c, const struct share_fh *fh, uint32_t *may,
                        struct err *e)
{
    struct share_call call = {.take = take_access, .to = may};
    ACCESS3args args = {
        .object = {.data = {.data_len = fh->len, .data_val = (char *)(uintptr_t)fh->val}},
        .access = ACCESS3_READ | ACCESS3_MODIFY,
    };
    if (share_conn_lost(c))
        return err_set(e, ERR_LOST, 0, "the connection to the server was lost");
    bool queued = COMPAT_CALL(nfs3_access, share_conn_rpc(c), share_conn_answered, &args,
                              share_conn_slot(c, &call));
    return share_conn_wait(c, &call, queued, check_deadline(), e);
}

void share_check_image(struct share_check *s, const char *what, const char *name,
                       const struct share_user *user, struct store_attr *attr, struct check_list *l)
{
    struct err e = {0};
    struct share_entry f;
    char size[UNITS_TEXT_MAX];
    uint32_t may = 0;
    struct share_conn *c = check_connect(s, user, &e);
    int found =
        c == NULL ? -1
                  : share_names_walk(c, &share_of(s->place)->root, name, &f, check_deadline(), &e);
    if (found > 0 && check_access(c, &f.fh, &may, &e) < 0)
        found = -1;
    share_conn_close(c);
    if (found < 0) {
        check_list_add(l, CHECK_REFUSE, what, "%s%s: %s", s->place->url, name, e.msg);
        check_fix_export(s, l);
    } else if (found == 0) {
        check_list_add(l, CHECK_REFUSE, what, "%s has no %s", s->place->url, name);
        check_list_fix(l, "godwit relocate IMAGE %s%s", s->place->url, name);
    } else if (may != (ACCESS3_READ | ACCESS3_MODIFY)) {
        check_list_add(l, CHECK_REFUSE, what,
                       "user %u:%u may not write %s%s: it is %u:%u's, mode %o", user->uid,
                       user->gid, s->place->url, name, f.attr.uid, f.attr.gid, f.attr.mode);
        check_list_fix(l, "ssh root@%s chown %u:%u %s/%s", share_of(s->place)->url.host, user->uid,
                       user->gid, share_of(s->place)->url.path, name);
    } else {
        *attr = f.attr;
        check_list_add(l, CHECK_OK, what, "%s%s is there, %s, and user %u:%u may write it",
                       s->place->url, name, units_format_size(size, f.attr.size_bytes), user->uid,
                       user->gid);
    }
}

int share_check_take(struct share_check *s, const char *name, const struct share_user *user,
                     struct store_attr *attr, struct err *e)
{
    struct share_entry f;
    struct share_conn *c = check_connect(s, user, e);
    int found = c == NULL
                    ? -1
                    : share_names_walk(c, &share_of(s->place)->root, name, &f, check_deadline(), e);
    if (found > 0) {
        *attr = f.attr;
        if (share_proc_remove(c, &share_of(s->place)->root, name, check_deadline(), e) < 0)
            found = -1;
    }
    share_conn_close(c);
    return found;
}
