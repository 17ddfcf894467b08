/* SPDX-License-Identifier: Apache-2.0 */
#include "nfs/share_data.h"

#include <errno.h>
#include <stdlib.h>

#include "core/log.h"
#include "nfs/share_lane.h"

struct share_data {
    struct ring *ring;
    struct share_target target;
    enum share_path path;
    unsigned n;
    struct share_carrier *carriers[];
};

/* libnfs always connects; then it is decided who speaks. */
static struct share_carrier *data_connect(struct share_data *d, int64_t deadline_ns, struct err *e)
{
    struct share_conn *c = share_conn_open(d->ring, &d->target, deadline_ns, e);
    if (c == NULL)
        return NULL;
    bool fits = share_lane_fits(c);
    if (d->path == SHARE_PATH_OWN && !fits) {
        err_set(e, ERR_REFUSED, 0, "our own data path needs a plain TCP connection");
        share_conn_close(c);
        return NULL;
    }
    if (d->path == SHARE_PATH_LIBNFS || !fits)
        return share_conn_carrier(c);
    return share_lane_adopt(d->ring, c, d->target.timeout_ns, e);
}

struct share_data *share_data_open(struct ring *ring, const struct share_target *target,
                                   unsigned connections, enum share_path path, int64_t deadline_ns,
                                   struct err *e)
{
    struct share_data *d = calloc(1, sizeof *d + connections * sizeof *d->carriers);
    if (d == NULL) {
        err_set(e, ERR_NFS, ENOMEM, "%u connections", connections);
        return NULL;
    }
    d->ring = ring;
    d->target = *target;
    d->path = path;
    while (d->n < connections) {
        struct share_carrier *c = data_connect(d, deadline_ns, e);
        if (c == NULL) {
            share_data_close(d);
            return NULL;
        }
        d->carriers[d->n++] = c;
    }
    log_debug("nfs: %u connections for data, spoken by %s", d->n, d->carriers[0]->ops->name);
    return d;
}

void share_data_close(struct share_data *d)
{
    for (unsigned i = 0; d != NULL && i < d->n; i++)
        d->carriers[i]->ops->close(d->carriers[i]);
    free(d);
}

int share_data_mend(struct share_data *d, int64_t deadline_ns, struct err *e)
{
    unsigned live = 0;
    struct err last = {0};
    for (unsigned i = 0; i < d->n; i++) {
        struct share_carrier *old = d->carriers[i], *new;
        if (!old->ops->check(old)) {
            err_clear(&last);
            new = data_connect(d, deadline_ns, &last);
            if (new == NULL)
                continue;
            old->ops->close(old);
            d->carriers[i] = new;
        }
        live++;
    }
    if (live > 0 && live < d->n)
        log_debug("nfs: %u of %u connections live: %s", live, d->n, last.msg);
    if (live == 0)
        *e = last;
    return live > 0 ? 0 : -1;
}

static struct share_carrier *data_least_loaded(struct share_data *d)
{
    struct share_carrier *best = d->carriers[0];
    for (unsigned i = 1; i < d->n; i++) {
        struct share_carrier *c = d->carriers[i];
        if (!c->lost && (best->lost || c->load < best->load))
            best = c;
    }
    return best;
}

void share_data_write(struct share_data *d, const struct share_fh *fh, struct store_io *io)
{
    struct share_carrier *c = data_least_loaded(d);
    c->ops->write(c, fh, io);
}

void share_data_commit(struct share_data *d, const struct share_fh *fh, struct store_io *io)
{
    struct share_carrier *c = data_least_loaded(d);
    c->ops->commit(c, fh, io);
}

void share_data_stop(struct share_data *d)
{
    for (unsigned i = 0; i < d->n; i++)
        d->carriers[i]->ops->stop(d->carriers[i]);
}
