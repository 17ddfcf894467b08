/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * A time line is a stack of panels with one time axis, each drawn by a plot of its own in gnuplot's
 * multiplot mode. Marks and the shaded silence are set once, in the coordinates of a panel, and
 * gnuplot repeats them in each. Ranges are always given, as gnuplot stops at a plot without points.
 */
#include "bench/report/chart_trial.h"

#include <math.h>
#include <string.h>

enum {
    TIMELINE_WIDTH = 1180,
    TIMELINE_PANEL = 118, /* pixels */
    TIMELINE_HEAD = 96,   /* for the events' names */
    TIMELINE_FOOT = 44,
    TIMELINE_LABEL = 13, /* pixels between two names */
};

#define TIMELINE_LEFT 0.07
#define TIMELINE_RIGHT 0.84

struct timeline {
    const struct trial *t;
    size_t points;
    double from_s, to_s;
    int panels, panel; /* how many, and which is next */
    FILE *to;
};

static double timeline_s(int64_t ns)
{
    return (double)ns / 1e9;
}

/* ---- data: each function writes a datablock, and returns the highest value ---- */

static double timeline_higher(double highest, double value)
{
    return value > highest ? value : highest; /* false for NAN */
}

static size_t timeline_stride(size_t n, size_t points)
{
    return points > 0 && n > points ? (n + points - 1) / points : 1;
}

/* The guest's work in each 100 ms (or longer, so that there are not too many points): pages. Its
 * counter is 32 bits wide and begins anew when it boots. */
static double timeline_work(const struct timeline *l)
{
    const struct trial_timeline *d = &l->t->timeline;
    double width_s = fmax(0.1, (l->to_s - l->from_s) / (double)l->points), highest = 0;
    fputs("$work << EOD\n", l->to);
    size_t next = 0;
    uint32_t before = d->beats_n > 0 ? d->beats[0].work : 0;
    for (double at_s = l->from_s; at_s + width_s <= l->to_s; at_s += width_s) {
        uint32_t work = before;
        while (next < d->beats_n && timeline_s(d->beats[next].at_ns) < at_s + width_s)
            work = d->beats[next++].work;
        double done = work - before < UINT32_MAX / 2 ? (double)(work - before) : 0;
        before = work;
        done *= 0.1 / width_s;
        highest = timeline_higher(highest, done);
        fprintf(l->to, "%.3f %.5g\n", at_s, done);
    }
    fputs("EOD\n", l->to);
    return highest;
}

/* Per cent of a processor between two samples; NAN: not known. */
static double timeline_percent(uint64_t before_ns, uint64_t after_ns, int64_t ns)
{
    if (before_ns == UINT64_MAX || after_ns == UINT64_MAX || after_ns < before_ns || ns <= 0)
        return NAN;
    return 100 * (double)(after_ns - before_ns) / (double)ns;
}

static double timeline_mib(uint64_t bytes)
{
    return bytes != UINT64_MAX ? (double)bytes / (1 << 20) : NAN;
}

/* Columns: time; of the source and of the destination vCPUs, migration, resident MiB. */
static void timeline_usage(const struct timeline *l, double *cpu, double *memory)
{
    const struct trial_timeline *d = &l->t->timeline;
    /* a clock tick of the kernel's is 1 to 10 ms: shorter stretches would be all or nothing */
    size_t stride = timeline_stride(d->usage_n, l->points);
    while (stride < d->usage_n &&
           d->usage[stride].at_ns - d->usage[0].at_ns < 50 * INT64_C(1000000))
        stride++;
    *cpu = *memory = 0;
    fputs("$usage << EOD\n", l->to);
    for (size_t i = stride; i < d->usage_n; i += stride) {
        const struct trial_usage *a = &d->usage[i - stride], *b = &d->usage[i];
        fprintf(l->to, "%.3f", timeline_s((a->at_ns + b->at_ns) / 2));
        for (size_t side = 0; side < TRIAL_SIDES; side++) {
            int64_t ns = b->at_ns - a->at_ns;
            double vcpu =
                timeline_percent(a->side[side].vcpu_cpu_ns, b->side[side].vcpu_cpu_ns, ns);
            double migration = timeline_percent(a->side[side].migration_cpu_ns,
                                                b->side[side].migration_cpu_ns, ns);
            double rss = timeline_mib(b->side[side].rss_bytes);
            fprintf(l->to, " %.4g %.4g %.5g", vcpu, migration, rss);
            *cpu = timeline_higher(timeline_higher(*cpu, vcpu), migration);
            *memory = timeline_higher(*memory, rss);
        }
        fputs("\n", l->to);
    }
    fputs("EOD\n", l->to);
}

/* Columns: time, dirty rate, bandwidth, both in MiB/s. */
static double timeline_gauges(const struct timeline *l)
{
    const struct trial_timeline *d = &l->t->timeline;
    double highest = 0;
    fputs("$gauges << EOD\n", l->to);
    for (size_t i = 0; i < d->gauges_n; i += timeline_stride(d->gauges_n, l->points)) {
        const struct trial_gauge *g = &d->gauges[i];
        double dirty = timeline_mib(g->dirty_bytes_per_s);
        double bandwidth = timeline_mib(g->bandwidth_bytes_per_s);
        fprintf(l->to, "%.3f %.5g %.5g\n", timeline_s(g->at_ns), dirty, bandwidth);
        highest = timeline_higher(timeline_higher(highest, dirty), bandwidth);
    }
    fputs("EOD\n", l->to);
    return highest;
}

/* ---- marks ---- */

static void timeline_shade(const struct timeline *l)
{
    for (size_t i = 0; i < l->t->observers_n; i++) {
        const struct trial_observer *v = &l->t->observers[i];
        if (v->silence_ns != trial_silence_ns(l->t) || v->silence_ns == TRIAL_NEVER ||
            v->began_ns == TRIAL_NEVER)
            continue;
        fprintf(l->to,
                "set object 1 rectangle from %.4f, graph 0 to %.4f, graph 1 behind fillcolor rgb "
                "'#f6b8a6' fillstyle solid noborder\n",
                timeline_s(v->began_ns), timeline_s(v->began_ns + v->silence_ns));
        return;
    }
}

/* Names stand upright above the panels. Where two would overlap, only the first is there; the
 * list below the chart has all. */
static void timeline_events(const struct timeline *l)
{
    const struct trial_timeline *d = &l->t->timeline;
    double width_s = (l->to_s - l->from_s) /
                     ((TIMELINE_RIGHT - TIMELINE_LEFT) * (double)TIMELINE_WIDTH);
    double free_s = -INFINITY;
    char text[sizeof d->events->name + sizeof d->events->detail + 2];
    for (size_t i = 0; i < d->events_n; i++) {
        const struct trial_event *v = &d->events[i];
        bool pass = strcmp(v->name, "MIGRATION_PASS") == 0;
        double at_s = timeline_s(v->at_ns);
        if (at_s < l->from_s || at_s > l->to_s)
            continue;
        fprintf(l->to,
                "set arrow from %.4f, graph 0 to %.4f, graph 1 nohead back dt %d lc rgb '%s'\n",
                at_s, at_s, pass ? 3 : 2, pass ? "#999999" : "#555555");
        if (at_s < free_s)
            continue;
        free_s = at_s + (double)TIMELINE_LABEL * width_s;
        snprintf(text, sizeof text, "%s %s", pass ? "pass" : v->name, v->detail);
        fputs("set label ", l->to);
        plot_text(l->to, text);
        fprintf(l->to, " at %.4f, graph 1.04 rotate by 90 left font ',9' textcolor rgb '#333333'\n",
                at_s);
    }
}

/* ---- panels ---- */

static void timeline_panel(struct timeline *l, const char *name, double highest)
{
    double height = TIMELINE_HEAD + TIMELINE_FOOT + TIMELINE_PANEL * l->panels;
    double top = 1 - (TIMELINE_HEAD + TIMELINE_PANEL * l->panel) / height;
    bool last = ++l->panel == l->panels;
    fprintf(l->to, "set tmargin at screen %.4f\nset bmargin at screen %.4f\n", top,
            top - (TIMELINE_PANEL - 14) / height);
    fprintf(l->to, "set ylabel '%s'\nset yrange [0:%g]\nset format x '%s'\nset xlabel '%s'\n", name,
            highest > 0 ? highest * 1.08 : 1, last ? "%g" : "", last ? "s since the start" : "");
}

/* Marks have their names above the first panel only. */
static void timeline_panel_end(const struct timeline *l)
{
    fputs("unset label\n", l->to);
}

static void timeline_plots(struct timeline *l)
{
    const struct trial_timeline *d = &l->t->timeline;
    double cpu, memory;
    if (d->beats_n > 0) {
        timeline_panel(l, "pages/100 ms", timeline_work(l));
        fputs("plot $work using 1:2 with fillsteps fs solid 0.25 noborder lc rgb '#333333' "
              "notitle, $work using 1:2 with steps lw 1.2 lc rgb '#333333' title 'guest: work'\n",
              l->to);
        timeline_panel_end(l);
    }
    if (d->usage_n > 1) {
        timeline_usage(l, &cpu, &memory);
        timeline_panel(l, "CPU, %", cpu);
        fputs("plot $usage using 1:2 with lines lw 1.4 lc rgb '#0072b2' title 'source: vCPUs', "
              "'' using 1:3 with lines lw 1.4 dt 2 lc rgb '#0072b2' title 'source: migration', "
              "'' using 1:5 with lines lw 1.4 lc rgb '#c24e00' title 'dest.: vCPUs', "
              "'' using 1:6 with lines lw 1.4 dt 2 lc rgb '#c24e00' title 'dest.: migration'\n",
              l->to);
        timeline_panel_end(l);
        timeline_panel(l, "RSS, MiB", memory);
        fputs("plot $usage using 1:4 with lines lw 1.4 lc rgb '#0072b2' title 'source: RSS', "
              "'' using 1:7 with lines lw 1.4 lc rgb '#c24e00' title 'dest.: RSS'\n",
              l->to);
        timeline_panel_end(l);
    }
    if (d->gauges_n > 0) {
        timeline_panel(l, "MiB/s", timeline_gauges(l));
        fputs("plot $gauges using 1:2 with lines lw 1.4 lc rgb '#a3006d' title 'dirty rate', "
              "'' using 1:3 with lines lw 1.4 lc rgb '#009e73' title 'bandwidth'\n",
              l->to);
        timeline_panel_end(l);
    }
}

static void timeline_span(struct timeline *l)
{
    const struct trial_timeline *d = &l->t->timeline;
    int64_t first = INT64_MAX, last = INT64_MIN;
    if (d->beats_n > 0) {
        first = d->beats[0].at_ns;
        last = d->beats[d->beats_n - 1].at_ns;
    }
    if (d->usage_n > 0) {
        first = d->usage[0].at_ns < first ? d->usage[0].at_ns : first;
        last = d->usage[d->usage_n - 1].at_ns > last ? d->usage[d->usage_n - 1].at_ns : last;
    }
    if (d->gauges_n > 0) {
        first = d->gauges[0].at_ns < first ? d->gauges[0].at_ns : first;
        last = d->gauges[d->gauges_n - 1].at_ns > last ? d->gauges[d->gauges_n - 1].at_ns : last;
    }
    l->from_s = timeline_s(first);
    l->to_s = timeline_s(last);
}

void chart_timeline(struct page *p, const struct trial *t, size_t points)
{
    const struct trial_timeline *d = &t->timeline;
    struct timeline l = {.t = t, .points = points};
    l.panels = (d->beats_n > 0) + 2 * (d->usage_n > 1) + (d->gauges_n > 0);
    timeline_span(&l);
    if (l.panels == 0 || l.to_s - l.from_s < 0.001)
        return;
    l.to = page_chart(p, TIMELINE_WIDTH,
                      TIMELINE_HEAD + TIMELINE_FOOT + TIMELINE_PANEL * (unsigned)l.panels);
    fprintf(l.to,
            "set multiplot\nset lmargin at screen %g\nset rmargin at screen %g\n"
            "set xrange [%.3f:%.3f]\nset key outside right top samplen 2 font ',10'\n"
            "set border 3 lc rgb '#888888'\nset tics nomirror font ',10' textcolor rgb '#1a1a1a'\n"
            "set grid ytics lc rgb '#e4e4e4' lt 1\nset ylabel font ',10'\nset xlabel font ',10'\n",
            TIMELINE_LEFT, TIMELINE_RIGHT, l.from_s, l.to_s);
    fputs("set datafile missing NaN\n", l.to);
    timeline_shade(&l);
    timeline_events(&l);
    timeline_plots(&l);
    fputs("unset multiplot\n", l.to);
}

/* ---- the pause ---- */

enum {
    PAUSE_MOMENTS = 7,
    PAUSE_WIDTH = 580,
    PAUSE_TITLE = 34, /* pixels, as the next two */
    PAUSE_AXIS = 58,
    PAUSE_ROW = 22,
    PAUSE_DEVICES_MAX = 16,
};

struct pause_moments {
    int64_t at_ns[PAUSE_MOMENTS];
    const char *name[PAUSE_MOMENTS];
    size_t n; /* that are known */
};

static void pause_moments(const struct trial_pause *p, struct pause_moments *m)
{
    const struct {
        int64_t at_ns;
        const char *name;
    } all[PAUSE_MOMENTS] = {
        {p->last_beat_ns, "last heartbeat"},
        {p->stopped_ns, "vCPUs stopped"},
        {p->ram_sent_ns, "RAM sent"},
        {p->devices_sent_ns, "devices sent"},
        {p->loaded_ns, "loaded"},
        {p->resumed_ns, "vCPUs run"},
        {p->first_beat_ns, "first heartbeat"},
    };
    m->n = 0;
    for (size_t i = 0; i < PAUSE_MOMENTS; i++)
        if (all[i].at_ns != TRIAL_NEVER) {
            m->at_ns[m->n] = all[i].at_ns;
            m->name[m->n++] = all[i].name;
        }
}

static FILE *pause_chart(struct page *p, double width_ms, size_t rows, const char *xlabel)
{
    double height = (double)(PAUSE_TITLE + PAUSE_AXIS) + (double)PAUSE_ROW * (double)rows;
    FILE *to = page_chart(p, PAUSE_WIDTH, (unsigned)height);
    fprintf(to, "set tmargin at screen %.4f\nset bmargin at screen %.4f\n",
            1 - (double)PAUSE_TITLE / height, (double)PAUSE_AXIS / height);
    fprintf(to,
            "set xrange [0:%g]\nset yrange [%zu.5:0.5]\nset border 1 lc rgb '#888888'\n"
            "set xtics nomirror out textcolor rgb '#1a1a1a'\nset grid xtics lc rgb '#dddddd' lt 1\n"
            "set xlabel '%s' offset 0,0.5\n"
            "set lmargin at screen 0.36\nset rmargin at screen 0.93\nunset key\n",
            width_ms > 0 ? width_ms * 1.1 : 1, rows, xlabel);
    return to;
}

static void pause_bar(FILE *to, double from, double end, double y, double half, const char *colour)
{
    fprintf(to,
            "set object rectangle from %.4f, %.3f to %.4f, %.3f fillcolor rgb '%s' fillstyle solid "
            "noborder\n",
            from, y - half, end, y + half, colour);
}

static void pause_segments(struct page *p, const struct pause_moments *m)
{
    int64_t begin = m->at_ns[0], last = begin;
    for (size_t i = 1; i < m->n; i++)
        last = m->at_ns[i] > last ? m->at_ns[i] : last;
    FILE *to = pause_chart(p, (double)(last - begin) / 1e6, m->n - 1, "ms");
    fputs("set title 'the pause, by what happened' font ',13' offset 0,-0.7\n"
          "set ytics scale 0 textcolor rgb '#1a1a1a' (",
          to);
    for (size_t i = 1; i < m->n; i++)
        fprintf(to, "%s'%s → %s' %zu", i > 1 ? ", " : "", m->name[i - 1], m->name[i], i);
    fputs(")\n", to);
    for (size_t i = 1; i < m->n; i++) {
        double from = (double)(m->at_ns[i - 1] - begin) / 1e6;
        double end = (double)(m->at_ns[i] - begin) / 1e6;
        pause_bar(to, from, end, (double)i, 0.36, end < from ? "#a3001e" : "#0072b2");
        fprintf(to, "set label '%.2f' at %.4f, %zu offset 0.6,0 left font ',11'\n", end - from,
                fmax(from, end), i);
    }
    fputs("plot NaN\n", to);
}

static int64_t pause_device_ns(const struct trial_device *d)
{
    return d->save_ns > d->load_ns ? d->save_ns : d->load_ns; /* TRIAL_NEVER is the lowest */
}

/* The devices that took longest, the longest first. Returns how many. */
static size_t pause_slowest(const struct trial_pause *p,
                            const struct trial_device *slowest[PAUSE_DEVICES_MAX])
{
    size_t n = 0;
    for (size_t i = 0; i < p->devices_n; i++) {
        const struct trial_device *d = &p->devices[i];
        size_t at = n < PAUSE_DEVICES_MAX ? n++ : n;
        if (at == PAUSE_DEVICES_MAX && pause_device_ns(slowest[--at]) >= pause_device_ns(d))
            continue;
        for (; at > 0 && pause_device_ns(slowest[at - 1]) < pause_device_ns(d); at--)
            slowest[at] = slowest[at - 1];
        slowest[at] = d;
    }
    return n;
}

static void pause_devices(struct page *p, const struct trial_pause *pause)
{
    const struct trial_device *slowest[PAUSE_DEVICES_MAX];
    size_t n = pause_slowest(pause, slowest);
    FILE *to = pause_chart(p, fmax(0, (double)pause_device_ns(slowest[0]) / 1e6), n,
                           n < pause->devices_n ? "ms; the slowest only" : "ms");
    fputs("set title 'devices: save (blue), load (orange)' font ',13' offset 0,-0.7\n"
          "set ytics scale 0 textcolor rgb '#1a1a1a' (",
          to);
    for (size_t i = 0; i < n; i++) {
        fputs(i > 0 ? ", " : "", to);
        plot_text(to, slowest[i]->name);
        fprintf(to, " %zu", i + 1);
    }
    fputs(")\n", to);
    for (size_t i = 0; i < n; i++) {
        const int64_t ns[] = {slowest[i]->save_ns, slowest[i]->load_ns};
        static const char *const colours[] = {"#0072b2", "#e08a00"};
        for (size_t k = 0; k < 2; k++)
            if (ns[k] > 0)
                pause_bar(to, 0, (double)ns[k] / 1e6, (double)i + 0.82 + 0.36 * (double)k, 0.17,
                          colours[k]);
    }
    fputs("plot NaN\n", to);
}

void chart_pause(struct page *p, const struct trial *t)
{
    struct pause_moments m;
    pause_moments(&t->pause, &m);
    page_begin(p, "div class=charts");
    if (m.n > 1)
        pause_segments(p, &m);
    if (t->pause.devices_n > 0)
        pause_devices(p, &t->pause);
    page_end(p, "div");
}
