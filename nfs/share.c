/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A place is a few parts: share_mount finds its directory, share_control asks what blocks,
 * share_names and share_file are the port's functions on top of that, and share_data carries data.
 */
#include "nfs/share.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/text.h"
#include "nfs/share_conn.h"
#include "nfs/share_data.h"
#include "nfs/share_dial.h"
#include "nfs/share_file.h"
#include "nfs/share_lane.h"
#include "nfs/share_mount.h"
#include "nfs/share_names.h"

enum { SHARE_LOAD_MUCH = 4 /* requests under way on a connection */ };

#define SHARE_OPEN_NS (15 * NS_PER_S) /* for all of opening, at most */
#define SHARE_TIMEOUT_NS (60 * NS_PER_S)

/* NFSv3 knows no holes. */
static int share_extent(struct store_file *f, uint64_t offset, struct store_extent *x,
                        struct err *e)
{
    (void)e;
    if (offset >= f->attr.size_bytes)
        return 0;
    *x = (struct store_extent){offset, f->attr.size_bytes - offset};
    return 1;
}

/* ---- data: the least loaded connection, and another where all have much under way ---- */

static bool share_may_connect(struct share_place *p)
{
    _Atomic int *left = p->options.connections_left;
    int n = left != NULL ? *left : 0;
    while (n > 0 && !atomic_compare_exchange_weak(left, &n, n - 1))
        ;
    return n > 0;
}

static struct share_data *share_pick(struct share_place *p)
{
    struct share_data *best = p->data[0];
    for (unsigned i = 1; i < p->n_data; i++)
        if (share_data_load(p->data[i]) < share_data_load(best))
            best = p->data[i];
    if (share_data_load(best) < SHARE_LOAD_MUCH || p->n_data == SHARE_CONNECTIONS_MAX ||
        !share_may_connect(p))
        return best;
    struct share_data *more = share_data_new(p);
    if (more == NULL)
        return best;
    p->data[p->n_data++] = more;
    return more;
}

static void share_read(struct store_io *io)
{
    share_data_read(share_pick(share_of(io->file->place)), io);
}

static void share_write(struct store_io *io)
{
    share_data_write(share_pick(share_of(io->file->place)), io);
}

static void share_commit(struct store_io *io)
{
    share_data_commit(share_pick(share_of(io->file->place)), io);
}

static void share_stop(struct store_place *place)
{
    struct share_place *p = share_of(place);
    for (unsigned i = 0; i < p->n_data; i++)
        share_data_stop(p->data[i]);
}

static void share_place_close(struct store_place *place)
{
    struct share_place *p = share_of(place);
    for (unsigned i = 0; i < p->n_data; i++)
        share_data_close(p->data[i]);
    if (p->options.connections_left != NULL)
        *p->options.connections_left += (int)p->n_data;
    share_conn_close(p->control);
    free(p);
}

static const struct store_ops share_ops = {
    .scheme = "nfs",
    .lookup = share_names_lookup,
    .list = share_names_list,
    .open = share_file_open,
    .extent = share_extent,
    .read = share_read,
    .write = share_write,
    .commit = share_commit,
    .publish = share_file_publish,
    .remove = share_names_remove,
    .stop = share_stop,
    .file_close = share_file_close,
    .place_close = share_place_close,
};

static struct share_place *share_new(struct ring *ring, const struct share_url *url,
                                     const struct share_options *options, struct err *e)
{
    size_t room = sizeof "nfs://[]/" + strlen(url->host) + strlen(url->path);
    struct share_place *p = calloc(1, sizeof *p + room);
    if (p == NULL) {
        err_set(e, ERR_NFS, ENOMEM, "%s%s", text_url_host(url->host), url->path);
        return NULL;
    }
    p->url = *url;
    p->options = *options;
    if (p->options.timeout_ns == 0)
        p->options.timeout_ns = SHARE_TIMEOUT_NS;
    share_url_show_host(url, p->host, sizeof p->host);
    snprintf(p->text, room, "nfs://%s%s%s", p->host, url->path,
             strcmp(url->path, "/") == 0 ? "" : "/");
    p->base = (struct store_place){.ops = &share_ops,
                                   .ring = ring,
                                   .url = p->text,
                                   .may_forget = true,
                                   .generation_may_change = true};
    p->mapper_port = p->options.mapper_port != 0 ? p->options.mapper_port : SHARE_MAPPER_PORT;
    p->data[0] = share_data_new(p);
    if (p->data[0] == NULL) {
        err_set(e, ERR_NFS, ENOMEM, "%s", p->text);
        free(p);
        return NULL;
    }
    p->n_data = 1;
    if (p->options.connections_left != NULL)
        --*p->options.connections_left;
    return p;
}

static int share_find(struct share_place *p, struct err *e)
{
    int64_t patience_ns = p->options.timeout_ns < SHARE_OPEN_NS ? p->options.timeout_ns
                                                                : SHARE_OPEN_NS;
    if (share_mount_find(p, clock_now_ns() + patience_ns, e) < 0)
        return -1;
    if (p->options.path != SHARE_PATH_OWN || share_conn_lost(p->control) ||
        share_lane_fits(p->control))
        return 0;
    return err_set(e, ERR_REFUSED, 0, "our own data path needs a plain TCP connection");
}

struct store_place *share_open(struct ring *ring, const char *url,
                               const struct share_options *options, struct err *e)
{
    struct share_url parsed;
    if (share_url_parse(url, &parsed, e) < 0)
        return NULL;
    struct share_place *p = share_new(ring, &parsed, options, e);
    if (p == NULL)
        return NULL;
    if (share_find(p, e) < 0) {
        if (e->class != ERR_CANCELLED && e->class != ERR_TIMEOUT) /* no answer refuses nothing */
            e->class = ERR_REFUSED;                               /* nothing was touched yet */
        err_wrap(e, "%s", p->text);
        share_place_close(&p->base);
        return NULL;
    }
    return &p->base;
}
