/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * Each page is asked for by the cookie of the last name before it, which is its own within a list (RFC 1813,
 * 3.3.16). Servers are known that lead in circles all the same, where two names have one hash; so one cookie
 * is remembered, that of the page whose number was a power of two last (Brent): a circle comes back to
 * it, however long it is. A list that is always new ends with a number that no directory has.
 */
#include "nfs/share_page.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE_NAMES_BYTES = 16 << 10, PAGE_BYTES = 64 << 10 };

struct page_answer {
    nfsstat3 status;
    struct share_page *page;
    bool no_memory, nonsense, circle;
};

/* One that can go on as a name of ours: a slash in it would lead somewhere else. */
static bool page_name_fits(const char *name)
{
    return name != NULL && *name != '\0' && strlen(name) <= STORE_NAME_MAX &&
           strchr(name, '/') == NULL;
}

static void page_add(struct page_answer *a, const char *name, const post_op_attr *attr)
{
    struct share_page *page = a->page;
    page->names++;
    if (!page_name_fits(name)) {
        a->nonsense = true;
        return;
    }
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return;
    if (page->count == page->room) {
        size_t room = page->room == 0 ? 64 : 2 * page->room;
        struct share_page_entry *more = realloc(page->entries, room * sizeof *more);
        a->no_memory = a->no_memory || more == NULL;
        if (more == NULL)
            return;
        page->entries = more;
        page->room = room;
    }
    struct share_page_entry *entry = &page->entries[page->count++];
    strcpy(entry->name, name);
    entry->has_attr = attr != NULL && attr->attributes_follow;
    if (entry->has_attr)
        share_proc_take_attr(&entry->entry, &attr->post_op_attr_u.attributes);
}

/* After all entries of an answer. */
static void page_end(struct page_answer *a, bool last, bool any, cookie3 cookie,
                     const cookieverf3 verifier)
{
    struct share_page *page = a->page;
    a->nonsense = a->nonsense || (!last && !any);
    a->circle = !last && any && page->seen_page > 0 && cookie == page->seen_cookie;
    page->pages++;
    if ((page->pages & (page->pages - 1)) == 0) {
        page->seen_page = page->pages;
        page->seen_cookie = cookie;
    }
    a->page->last = last;
    if (any)
        a->page->cookie = cookie;
    memcpy(a->page->verifier, verifier, sizeof a->page->verifier);
}

static void take_readdirplus(struct share_call *call, void *data)
{
    struct page_answer *a = call->to;
    const READDIRPLUS3res *res = data;
    const READDIRPLUS3resok *ok = &res->READDIRPLUS3res_u.resok;
    a->status = res->status;
    if (res->status != NFS3_OK)
        return;
    entryplus3 x = {0};
    for (const void *i = ok->reply.entries; i != NULL; i = x.nextentry) {
        memcpy(&x, i, sizeof x); /* libnfs 4 does not align it */
        page_add(a, x.name, &x.name_attributes);
    }
    page_end(a, ok->reply.eof, ok->reply.entries != NULL, x.cookie, ok->cookieverf);
}

static void take_readdir(struct share_call *call, void *data)
{
    struct page_answer *a = call->to;
    const READDIR3res *res = data;
    const READDIR3resok *ok = &res->READDIR3res_u.resok;
    a->status = res->status;
    if (res->status != NFS3_OK)
        return;
    entry3 x = {0};
    for (const void *i = ok->reply.entries; i != NULL; i = x.nextentry) {
        memcpy(&x, i, sizeof x);
        page_add(a, x.name, NULL);
    }
    page_end(a, ok->reply.eof, ok->reply.entries != NULL, x.cookie, ok->cookieverf);
}

static nfs_fh3 page_fh(const struct share_fh *fh)
{
    return (nfs_fh3){.data = {.data_len = fh->len, .data_val = (char *)(uintptr_t)fh->val}};
}

static int page_ask(struct share_conn *c, const struct share_fh *dir, struct page_answer *a,
                    int64_t deadline_ns, struct err *e)
{
    const struct share_page *page = a->page;
    struct share_call call = {.take = page->bare ? take_readdir : take_readdirplus, .to = a};
    bool queued;
    if (page->bare) {
        READDIR3args args = {.dir = page_fh(dir), .cookie = page->cookie, .count = PAGE_BYTES};
        memcpy(args.cookieverf, page->verifier, sizeof args.cookieverf);
        queued = COMPAT_CALL(nfs3_readdir, share_conn_rpc(c), share_conn_answered, &args,
                             share_conn_slot(c, &call));
    } else {
        READDIRPLUS3args args = {.dir = page_fh(dir),
                                 .cookie = page->cookie,
                                 .dircount = PAGE_NAMES_BYTES,
                                 .maxcount = PAGE_BYTES};
        memcpy(args.cookieverf, page->verifier, sizeof args.cookieverf);
        queued = COMPAT_CALL(nfs3_readdirplus, share_conn_rpc(c), share_conn_answered, &args,
                             share_conn_slot(c, &call));
    }
    return share_conn_wait(c, &call, queued, deadline_ns, e);
}

static int page_has_no_end(struct err *e, const char *how)
{
    err_set(e, ERR_PROTO, 0, "the server's list of names has no end: it %s", how);
    return err_hint(
        e, "the directory or its file system is damaged, or the server's software is at fault: "
           "'ls' on the server shows which");
}

int share_page_next(struct share_conn *c, const struct share_fh *dir, struct share_page *page,
                    int64_t deadline_ns, struct err *e)
{
    struct page_answer a = {.page = page};
    page->count = 0;
    if (share_conn_lost(c))
        return err_set(e, ERR_LOST, 0, "the connection to the server was lost");
    if (page_ask(c, dir, &a, deadline_ns, e) < 0)
        return -1;
    if (a.status == NFS3ERR_NOTSUPP && !page->bare) {
        page->bare = true;
        return share_page_next(c, dir, page, deadline_ns, e);
    }
    if (a.status == NFS3ERR_BAD_COOKIE)
        return err_set(e, ERR_NFS, 0, "the directory was changed while it was listed");
    if (a.status != NFS3_OK)
        return err_set(e, ERR_NFS, share_conn_errno(a.status), "the server says no");
    if (a.no_memory)
        return err_set(e, ERR_NFS, ENOMEM, "cannot hold a directory of so many entries");
    if (a.nonsense)
        return err_set(e, ERR_PROTO, 0, "the server's list of names makes no sense");
    if (a.circle)
        return page_has_no_end(e, "comes back to what it has listed before");
    if (!page->last && page->names > SHARE_PAGE_NAMES_MAX)
        return page_has_no_end(e, "goes on after more than four million of them");
    return 0;
}
