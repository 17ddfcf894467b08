/* SPDX-License-Identifier: Apache-2.0 */
/* A directory, a page at a time: READDIRPLUS, or READDIR where the server knows only that. */
#ifndef NFS_SHARE_PAGE_H
#define NFS_SHARE_PAGE_H

#include "nfs/share_proc.h"

struct share_page_entry {
    char name[STORE_NAME_MAX + 1];
    bool has_attr;            /* the server may leave them out */
    struct share_entry entry; /* without the handle */
};

/* Zeroed for the first page; then it is what the next one follows from. */
struct share_page {
    struct share_page_entry *entries; /* without "." and ".."; to be freed after the last page */
    size_t count, room;
    bool last;           /* no page follows */
    bool bare;           /* the server does not know READDIRPLUS */
    uint64_t names;      /* that were listed so far */
    uint64_t pages;      /* so far; */
    cookie3 seen_cookie; /* the cookie of one of them, */
    uint64_t seen_page;  /* this one; 0: of none yet */
    cookie3 cookie;
    cookieverf3 verifier;
};

enum { SHARE_PAGE_NAMES_MAX = 1 << 22 /* in one directory: a list that goes on has no end */ };

/* Replaces the page by the next one; after a failure it can be asked for once more. ERR_PROTO: the
 * server's answer makes no sense, or its list has no end. */
int share_page_next(struct share_conn *c, const struct share_fh *dir, struct share_page *page,
                    int64_t deadline_ns, struct err *e);

#endif
