/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/migrate/pause.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The last time that this checkpoint was passed: an attempt that failed may be in the log, too. */
static int64_t pause_checkpoint(const struct trace_log *log, const char *name)
{
    for (size_t i = log->n; i-- > 0;)
        if (log->lines[i].point == TRACE_CHECKPOINT && strcmp(log->lines[i].name, name) == 0)
            return log->lines[i].at_ns;
    return TRIAL_NEVER;
}

static int64_t pause_first_known(int64_t a, int64_t b)
{
    return a != TRIAL_NEVER ? a : b;
}

/* The source's last STOP, unless it was taken back. */
static int64_t pause_stop_event(const struct trial_timeline *tl)
{
    int64_t at_ns = TRIAL_NEVER;
    for (size_t i = 0; i < tl->events_n; i++) {
        const struct trial_event *ev = &tl->events[i];
        if (ev->side != TRIAL_SOURCE)
            continue;
        if (strcmp(ev->name, "STOP") == 0)
            at_ns = ev->at_ns;
        else if (strcmp(ev->name, "RESUME") == 0)
            at_ns = TRIAL_NEVER;
    }
    return at_ns;
}

static int64_t pause_resume_event(const struct trial_timeline *tl)
{
    for (size_t i = 0; i < tl->events_n; i++)
        if (tl->events[i].side == TRIAL_DESTINATION && strcmp(tl->events[i].name, "RESUME") == 0)
            return tl->events[i].at_ns;
    return TRIAL_NEVER;
}

static void pause_beats(const struct trial_timeline *tl, struct trial_pause *p)
{
    for (size_t i = 0; i < tl->beats_n; i++) {
        const struct trial_beat *b = &tl->beats[i];
        if (b->side == TRIAL_DESTINATION) {
            p->first_beat_ns = b->at_ns;
            return;
        }
        p->last_beat_ns = b->at_ns;
    }
}

/* "dma", and the second of them "dma#1". */
static struct trial_device *pause_device(struct trial_pause *p, const struct trace_line *line)
{
    char name[sizeof p->devices->name];
    if (line->instance == 0)
        snprintf(name, sizeof name, "%s", line->name);
    else
        snprintf(name, sizeof name, "%.50s#%d", line->name, line->instance);
    for (size_t i = 0; i < p->devices_n; i++)
        if (strcmp(p->devices[i].name, name) == 0)
            return &p->devices[i];
    struct trial_device *d = &p->devices[p->devices_n++];
    *d = (struct trial_device){.save_ns = TRIAL_NEVER, .load_ns = TRIAL_NEVER};
    memcpy(d->name, name, sizeof d->name);
    return d;
}

/* A device may come twice, as RAM does: once for its last pass and once for its state. */
static void pause_add(int64_t *sum_ns, int64_t took_ns)
{
    *sum_ns = *sum_ns == TRIAL_NEVER ? took_ns : *sum_ns + took_ns;
}

/* From where on the log is about the last attempt. */
static size_t pause_log_begin(const struct trace_log *log)
{
    for (size_t i = log->n; i-- > 0;)
        if (log->lines[i].point == TRACE_CHECKPOINT &&
            strcmp(log->lines[i].name, "src-downtime-start") == 0)
            return i;
    return 0;
}

static int pause_devices(struct trial_pause *p, const struct trace_log log[TRIAL_SIDES],
                         struct err *e)
{
    size_t most = log[TRIAL_SOURCE].n + log[TRIAL_DESTINATION].n;
    if (most == 0)
        return 0;
    p->devices = calloc(most, sizeof *p->devices);
    if (p->devices == NULL)
        return err_set(e, ERR_IO, ENOMEM, "cannot take the pause apart");
    for (int side = 0; side < TRIAL_SIDES; side++) {
        for (size_t i = pause_log_begin(&log[side]); i < log[side].n; i++) {
            const struct trace_line *line = &log[side].lines[i];
            if (line->point == TRACE_SAVE && side == TRIAL_SOURCE)
                pause_add(&pause_device(p, line)->save_ns, line->took_ns);
            else if (line->point == TRACE_LOAD && side == TRIAL_DESTINATION)
                pause_add(&pause_device(p, line)->load_ns, line->took_ns);
        }
    }
    return 0;
}

int pause_fill(struct trial *t, const struct trace_log log[TRIAL_SIDES], struct err *e)
{
    const struct trace_log *src = &log[TRIAL_SOURCE], *dst = &log[TRIAL_DESTINATION];
    struct trial_pause p = {
        .last_beat_ns = TRIAL_NEVER,
        .stopped_ns = pause_first_known(pause_stop_event(&t->timeline),
                                        pause_checkpoint(src, "src-vm-stopped")),
        .ram_sent_ns = pause_checkpoint(src, "src-iterable-saved"),
        .devices_sent_ns = pause_checkpoint(src, "src-non-iterable-saved"),
        .loaded_ns = pause_first_known(pause_checkpoint(dst, "dst-precopy-loadvm-completed"),
                                       pause_checkpoint(dst, "dst-postcopy-bh-enter")),
        .resumed_ns = pause_first_known(
            pause_resume_event(&t->timeline),
            pause_first_known(pause_checkpoint(dst, "dst-precopy-bh-vm-started"),
                              pause_checkpoint(dst, "dst-postcopy-bh-vm-started"))),
        .first_beat_ns = TRIAL_NEVER,
    };
    pause_beats(&t->timeline, &p);
    free(t->pause.devices);
    t->pause = p;
    return pause_devices(&t->pause, log, e);
}
