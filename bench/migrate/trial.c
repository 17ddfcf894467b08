/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/migrate/trial.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"

static const char *const route_names[] = {[TRIAL_QMP] = "qmp",
                                          [TRIAL_DIRECT] = "direct",
                                          [TRIAL_NATIVE] = "native",
                                          [TRIAL_VIRSH] = "virsh"};

static const char *const end_names[] = {[TRIAL_DONE] = "done",
                                        [TRIAL_FAILED] = "failed",
                                        [TRIAL_NOT_CONVERGED] = "not-converged",
                                        [TRIAL_REFUSED] = "refused"};

static const char mark_letters[] = "belo2s"; /* in the order of enum trial_mark */

void trial_init(struct trial *t, const struct trial_cell *cell)
{
    *t = (struct trial){
        .cell = *cell,
        .started_epoch_ns = clock_epoch_ns(),
        .qemu_downtime_ns = TRIAL_NEVER,
        .qemu_total_ns = TRIAL_NEVER,
        .pause = {TRIAL_NEVER, TRIAL_NEVER, TRIAL_NEVER, TRIAL_NEVER, TRIAL_NEVER, TRIAL_NEVER,
                  TRIAL_NEVER, NULL, 0},
    };
}

void trial_free(struct trial *t)
{
    for (size_t i = 0; i < t->observers_n; i++)
        free(t->observers[i].noticed);
    free(t->pause.devices);
    free(t->timeline.usage);
    free(t->timeline.gauges);
    free(t->timeline.events);
    free(t->timeline.beats);
    *t = (struct trial){0};
}

static void *trial_copy(const void *from, size_t n, size_t size)
{
    void *to = calloc(n + 1, size);
    if (to != NULL && n > 0)
        memcpy(to, from, n * size);
    return to;
}

int trial_copy_short(const struct trial *t, struct trial *to, struct err *e)
{
    *to = *t;
    to->timeline = (struct trial_timeline){0};
    to->pause.devices = trial_copy(t->pause.devices, t->pause.devices_n, sizeof *t->pause.devices);
    bool whole = to->pause.devices != NULL;
    for (size_t i = 0; i < t->observers_n; i++) {
        const struct trial_observer *v = &t->observers[i];
        to->observers[i].noticed = trial_copy(v->noticed, v->noticed_n, sizeof *v->noticed);
        whole &= to->observers[i].noticed != NULL;
    }
    if (whole)
        return 0;
    trial_free(to);
    return err_set(e, ERR_IO, ENOMEM, "cannot keep the results");
}

void trial_series_free(struct trial_series *s)
{
    for (size_t i = 0; i < s->n; i++)
        trial_free(&s->trials[i]);
    free(s->trials);
    *s = (struct trial_series){0};
}

/* By which the silence of the switchover is told: serial before ping. NULL: none saw it. */
static const struct trial_observer *trial_best_observer(const struct trial *t)
{
    static const enum observer_kind best_first[] = {OBSERVER_SERIAL, OBSERVER_PING};
    for (size_t k = 0; k < sizeof best_first / sizeof *best_first; k++)
        for (size_t i = 0; i < t->observers_n; i++)
            if (t->observers[i].kind == best_first[k] && t->observers[i].silence_ns != TRIAL_NEVER)
                return &t->observers[i];
    return NULL;
}

int64_t trial_silence_ns(const struct trial *t)
{
    const struct trial_observer *best = trial_best_observer(t);
    return best != NULL ? best->silence_ns : TRIAL_NEVER;
}

int64_t trial_all_silences_ns(const struct trial *t)
{
    const struct trial_observer *best = trial_best_observer(t);
    return best != NULL && best->quiet_ns != TRIAL_NEVER ? best->noticed_sum_ns : TRIAL_NEVER;
}

size_t trial_silences_after(const struct trial *t)
{
    size_t most = 0;
    for (size_t i = 0; i < t->observers_n; i++) {
        size_t n = 0;
        for (size_t k = 0; k < t->observers[i].noticed_n; k++)
            n += t->observers[i].noticed[k].place == OBSERVER_AFTER;
        most = n > most ? n : most;
    }
    return most;
}

bool trial_counts(const struct trial *t)
{
    return !t->warm_up && t->end == TRIAL_DONE && trial_silence_ns(t) != TRIAL_NEVER;
}

bool trial_cell_same(const struct trial_cell *a, const struct trial_cell *b)
{
    return strcmp(a->guest, b->guest) == 0 && strcmp(a->accel, b->accel) == 0 &&
           strcmp(a->setting, b->setting) == 0 && strcmp(a->options, b->options) == 0 &&
           a->route == b->route && strcmp(a->qemu[0], b->qemu[0]) == 0 &&
           strcmp(a->qemu[1], b->qemu[1]) == 0 && a->ram_bytes == b->ram_bytes &&
           a->working_set_bytes == b->working_set_bytes && a->vcpus == b->vcpus &&
           a->dirty_bytes_per_s == b->dirty_bytes_per_s &&
           a->link_bytes_per_s == b->link_bytes_per_s;
}

static int trial_name_of(const char *const *names, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0)
            return (int)i;
    return -1;
}

const char *trial_route_name(enum trial_route route)
{
    return route_names[route];
}

const char *trial_end_name(enum trial_end end)
{
    return end_names[end];
}

int trial_route_of(const char *name)
{
    return trial_name_of(route_names, sizeof route_names / sizeof *route_names, name);
}

int trial_end_of(const char *name)
{
    return trial_name_of(end_names, sizeof end_names / sizeof *end_names, name);
}

void trial_marks_text(unsigned marks, char text[16])
{
    size_t n = 0;
    for (size_t i = 0; mark_letters[i] != '\0'; i++)
        if (marks & 1u << i)
            text[n++] = mark_letters[i];
    text[n] = '\0';
}

unsigned trial_marks_of(const char *text)
{
    unsigned marks = 0;
    for (; *text != '\0'; text++) {
        const char *at = strchr(mark_letters, *text);
        if (at != NULL)
            marks |= 1u << (at - mark_letters);
    }
    return marks;
}
