/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/migrate/trial.h"

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
    free(t->pause.devices);
    free(t->timeline.usage);
    free(t->timeline.gauges);
    free(t->timeline.events);
    free(t->timeline.beats);
    *t = (struct trial){0};
}

void trial_series_free(struct trial_series *s)
{
    for (size_t i = 0; i < s->n; i++)
        trial_free(&s->trials[i]);
    free(s->trials);
    *s = (struct trial_series){0};
}

int64_t trial_silence_ns(const struct trial *t)
{
    static const enum observer_kind best_first[] = {OBSERVER_SERIAL, OBSERVER_PING};
    for (size_t k = 0; k < sizeof best_first / sizeof *best_first; k++)
        for (size_t i = 0; i < t->observers_n; i++)
            if (t->observers[i].kind == best_first[k] && t->observers[i].silence_ns != TRIAL_NEVER)
                return t->observers[i].silence_ns;
    return TRIAL_NEVER;
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
