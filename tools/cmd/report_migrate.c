/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cmd/report_migrate.h"

#include <inttypes.h>

#include "core/json.h"
#include "core/log.h"
#include "core/units.h"

static double report_ms(int64_t ns)
{
    return (double)ns / 1e6;
}

/* ---- progress ---- */

/* What is left, at the speed at which it becomes less; -1 while it does not. */
static int64_t report_eta_ns(const struct vm_sample *s)
{
    if (s->bandwidth_bytes_per_s <= s->dirty_bytes_per_s)
        return -1;
    double eta_ns = (double)s->ram_remaining_bytes * 1e9 /
                    (double)(s->bandwidth_bytes_per_s - s->dirty_bytes_per_s);
    return eta_ns < 1e18 ? (int64_t)eta_ns : -1;
}

static void report_progress_text(struct progress *p, const struct migrate_progress *m)
{
    const struct vm_sample *s = &m->source;
    char sent[UNITS_TEXT_MAX], left[UNITS_TEXT_MAX], rate[UNITS_TEXT_MAX], dirty[UNITS_TEXT_MAX];
    char eta[32] = "", pass[48] = "", line[300];
    if (m->diverges)
        snprintf(eta, sizeof eta, ", DOES NOT CONVERGE");
    else if (report_eta_ns(s) >= 0 && s->ram_remaining_bytes > 0)
        snprintf(eta, sizeof eta, ", ETA %.0f s", (double)report_eta_ns(s) / 1e9);
    if (s->passes > 0)
        snprintf(pass, sizeof pass, "pass %" PRIu64 ", ", s->passes);
    snprintf(line, sizeof line, "%s: %s sent, %s left, %s/s, %sdirties %s/s%s",
             phase_name(m->phase), units_format_size(sent, s->ram_transferred_bytes),
             units_format_size(left, s->ram_remaining_bytes),
             units_format_size(rate, s->bandwidth_bytes_per_s), pass,
             units_format_size(dirty, s->dirty_bytes_per_s), eta);
    progress_line(p, line);
}

static void report_progress_json(const struct progress *p, const struct migrate_progress *m)
{
    const struct vm_sample *s = &m->source;
    struct json *o = json_new();
    json_text(o, "event", "progress");
    json_text(o, "phase", phase_name(m->phase));
    json_ms(o, "t_ms", m->elapsed_ns);
    json_u64(o, "ram_total_bytes", s->ram_total_bytes);
    json_u64(o, "ram_transferred_bytes", s->ram_transferred_bytes);
    json_u64(o, "ram_remaining_bytes", s->ram_remaining_bytes);
    json_u64(o, "bandwidth_bytes_per_s", s->bandwidth_bytes_per_s);
    json_u64(o, "dirty_bytes_per_s", s->dirty_bytes_per_s);
    json_u64(o, "ram_handled_bytes", s->ram_handled_bytes);
    json_u64(o, "passes", s->passes);
    json_u64(o, "pass_bytes", s->pass_bytes);
    json_flag(o, "diverges", m->diverges);
    json_ms(o, "eta_ms", m->diverges ? -1 : report_eta_ns(s));
    json_ms(o, "expected_downtime_ms", s->expected_downtime_ns);
    json_line(o, p->fd);
}

void report_decision_text(const struct control_action *a, FILE *to)
{
    fprintf(to, "%7.1f s  %s", (double)a->at_ns / 1e9, control_what_name(a->what));
    if (a->what == CONTROL_LIMIT)
        fprintf(to, " %.0f ms", report_ms(a->limit_ns));
    if (a->what == CONTROL_THROTTLE)
        fprintf(to, " %u%%", a->throttle_percent);
    if (a->what == CONTROL_VCPUS)
        fprintf(to, " of %zu, %u%%", a->vcpus_limited, a->throttle_percent);
    fprintf(to, ": %s%s\n", a->why, a->miss ? " (the promise is not kept)" : "");
}

static void report_notice_text(const struct notice *n, FILE *to)
{
    fprintf(to, "%7.1f s  noticed %s: %s\n", (double)n->at_ns / 1e9, notice_name(n->what), n->why);
}

void report_migrate_progress(void *arg, const struct migrate_progress *m)
{
    struct progress *p = arg;
    if (m->decision != NULL && p->explain) {
        progress_clear(p);
        report_decision_text(m->decision, stderr);
    }
    if (m->notice != NULL) {
        progress_clear(p);
        if (p->explain)
            report_notice_text(m->notice, stderr);
        else
            log_warn("%s", m->notice->why);
    }
    if (m->decision != NULL || m->notice != NULL)
        return;
    if (p->terminal)
        report_progress_text(p, m);
    if (p->fd >= 0)
        report_progress_json(p, m);
}

/* ---- results ---- */

/* Nothing of a side that was not reached. */
static void report_side_json(struct json *result, const char *key, const struct vm_facts *f)
{
    if (f->hypervisor[0] == '\0')
        return;
    struct json *o = json_node(result, key);
    json_text(o, "hypervisor", f->hypervisor);
    json_text(o, "machine", f->machine);
    json_u64(o, "ram_bytes", f->ram_bytes);
    json_u64(o, "vcpus", f->vcpus);
    json_text(o, "accelerator", f->kvm ? "kvm" : "tcg");
}

static void report_phases_json(struct json *list, const struct migrate_report *m)
{
    for (size_t i = 0; i < m->phases.logged; i++) {
        struct json *o = json_item(list);
        json_text(o, "name", phase_name(m->phases.log[i].phase));
        json_ms(o, "t_ms", m->phases.log[i].at_ns - m->started_ns);
    }
}

/* What was set by name, as it was given. Where nothing was touched nothing was set. */
static void report_settings_json(struct json *result, const struct report_migrate *r)
{
    if (!r->report->touched || r->settings->set_n == 0)
        return;
    struct json *o = json_node(result, "settings");
    for (size_t i = 0; i < r->settings->set_n; i++)
        json_text(o, r->settings->set[i].name, r->settings->set[i].value);
}

/* What steered it, and why. */
static void report_decisions_json(struct json *list, const struct migrate_report *m)
{
    for (size_t i = 0; i < m->decisions_n; i++) {
        const struct control_action *a = &m->decisions[i];
        struct json *o = json_item(list);
        json_ms(o, "t_ms", a->at_ns);
        json_text(o, "what", control_what_name(a->what));
        if (a->what == CONTROL_LIMIT)
            json_ms(o, "limit_ms", a->limit_ns);
        if (a->what == CONTROL_THROTTLE || a->what == CONTROL_VCPUS)
            json_u64(o, "throttle_percent", a->throttle_percent);
        if (a->what == CONTROL_VCPUS)
            json_u64(o, "vcpus_limited", a->vcpus_limited);
        json_flag(o, "miss", a->miss);
        json_text(o, "why", a->why);
    }
}

/* What went worse than it was meant to. */
static void report_notices_json(struct json *list, const struct migrate_report *m)
{
    for (size_t i = 0; i < m->notices_n; i++) {
        struct json *o = json_item(list);
        json_ms(o, "t_ms", m->notices[i].at_ns);
        json_text(o, "what", notice_name(m->notices[i].what));
        json_text(o, "why", m->notices[i].why);
    }
}

static void report_pause_json(struct json *downtime, const struct migrate_report *m)
{
    const struct migrate_pause *p = &m->pause;
    bool judged = p->limit == MIGRATE_LIMIT_KEPT || p->limit == MIGRATE_LIMIT_MISSED;
    if (judged)
        json_flag(downtime, "kept", p->limit == MIGRATE_LIMIT_KEPT);
    else
        json_text(downtime, "kept", NULL);
    json_ms(downtime, "excess", judged ? p->excess_ns : -1);
    json_ms(downtime, "sending", m->touched ? p->sending_ns : -1);
    json_ms(downtime, "starting", m->touched ? p->starting_ns : -1);
}

void report_migrate_json(const struct report_migrate *r, const struct err *e, FILE *to)
{
    const struct migrate_report *m = r->report;
    bool completed = m->last.migration == VM_MIGRATION_COMPLETED;
    struct json *o = json_new();
    json_text(o, "result", r->result);
    json_text(o, "guest", migrate_guest_name(m->guest));
    json_text(o, "route", r->route);
    if (r->route_reason != NULL)
        json_text(o, "route_reason", r->route_reason);
    report_settings_json(o, r);
    json_ms(o, "total_ms", m->ended_ns - m->started_ns);

    struct json *downtime = json_node(o, "downtime_ms");
    json_ms(downtime, "limit", m->touched ? m->downtime_limit_ns : -1);
    json_ms(downtime, "qemu", completed ? m->last.downtime_ns : -1);
    json_ms(downtime, "observed", m->touched ? m->downtime_observed_ns : -1);
    json_ms(downtime, "silence", m->touched ? r->silence_ns : -1);
    json_text(downtime, "judged_by",
              !m->touched           ? NULL
              : r->promised_silence ? "silence"
                                    : "standstill");
    report_pause_json(downtime, m);
    json_flag(o, "diverges", m->diverges);
    json_flag(o, "missed", m->missed);
    json_u64(o, "recovered", m->recovered);
    report_decisions_json(json_list(o, "decisions"), m);
    report_notices_json(json_list(o, "notices"), m);

    struct json *ram = json_node(o, "ram");
    if (m->last.ram_total_bytes > 0) {
        json_u64(ram, "total_bytes", m->last.ram_total_bytes);
        json_u64(ram, "transferred_bytes", m->last.ram_transferred_bytes);
    }
    if (m->last.passes > 0)
        json_u64(ram, "passes", m->last.passes);

    report_phases_json(json_list(o, "phases"), m);
    report_side_json(o, "source", &m->source);
    report_side_json(o, "destination", &m->destination);
    report_observed_json(o, &r->observed);
    json_error(o, e);
    json_print(o, to);
}

/* What the excess is in. */
static const char *report_excess(const struct report_migrate *r)
{
    const struct migrate_report *m = r->report;
    const struct migrate_pause *p = &m->pause;
    int64_t stood_ns = m->downtime_observed_ns;
    if (r->promised_silence && stood_ns >= 0 && stood_ns <= m->downtime_limit_ns)
        return "the guest stood no longer than that: the excess is what it took to be seen again, its "
               "warm-up and the network's";
    if (p->sending_ns < 0)
        return "which part of it is not known: what the two sides said came in another order";
    return p->sending_ns - m->downtime_limit_ns > p->starting_ns
               ? "the excess is in the sending: more was left than QEMU had estimated, or it was "
                 "sent more slowly"
               : "QEMU reckons with RAM only: the excess is what the destination took to load and "
                 "start";
}

static void report_verdict_text(const struct report_migrate *r, FILE *to)
{
    const struct migrate_pause *p = &r->report->pause;
    const char *what = r->promised_silence ? "promise" : "limit";
    if (r->promised_silence && r->silence_ns >= 0)
        fprintf(to, "; silent for %.1f ms, which the promise is about", report_ms(r->silence_ns));
    if (p->limit == MIGRATE_LIMIT_KEPT)
        fprintf(to, ": the %s was kept", what);
    else if (p->limit == MIGRATE_LIMIT_MISSED)
        fprintf(to, ": the %s was MISSED by %.0f ms", what, report_ms(p->excess_ns));
    else if (p->limit == MIGRATE_LIMIT_NOT_MEANT)
        fputs(" (the switchover did not wait for the limit)", to);
    else if (r->promised_silence)
        fputs(": no observer tells whether the promise was kept", to);
    fputc('\n', to);
}

/* Whether the limit was kept, and what the pause was made of. */
static void report_pause_text(const struct report_migrate *r, FILE *to)
{
    const struct migrate_report *m = r->report;
    const struct migrate_pause *p = &m->pause;
    if (m->last.migration == VM_MIGRATION_COMPLETED && m->last.downtime_ns >= 0)
        fprintf(to, "QEMU says %.0f ms; ", report_ms(m->last.downtime_ns));
    fprintf(to, "limit %.0f ms; STOP to RESUME ", report_ms(m->downtime_limit_ns));
    if (m->downtime_observed_ns >= 0)
        fprintf(to, "%.1f ms", report_ms(m->downtime_observed_ns));
    else
        fputs("not seen", to);
    report_verdict_text(r, to);
    if (p->sending_ns >= 0)
        fprintf(to,
                "           %.1f ms to send the last of RAM and the devices, %.1f ms until the "
                "destination ran\n",
                report_ms(p->sending_ns), report_ms(p->starting_ns));
    if (p->limit == MIGRATE_LIMIT_MISSED)
        fprintf(to, "           %s\n", report_excess(r));
}

void report_migrate_text(const struct report_migrate *r, FILE *to)
{
    const struct migrate_report *m = r->report;
    char sent[UNITS_TEXT_MAX], ram[UNITS_TEXT_MAX];
    fprintf(to, "The guest is on the destination (route %s, %s to %s).\n", r->route,
            m->source.hypervisor, m->destination.hypervisor);
    if (r->route_reason != NULL)
        fprintf(to, "  route    %s: %s\n", r->route, r->route_reason);
    fprintf(to, "  total    %.0f ms", report_ms(m->ended_ns - m->started_ns));
    if (m->last.ram_total_bytes > 0)
        fprintf(to, ", %s sent for %s of RAM",
                units_format_size(sent, m->last.ram_transferred_bytes),
                units_format_size(ram, m->last.ram_total_bytes));
    if (m->last.passes > 0)
        fprintf(to, ", in %" PRIu64 " pass%s", m->last.passes, m->last.passes > 1 ? "es" : "");
    fputc('\n', to);
    if (m->recovered > 0)
        fprintf(to, "  postcopy lost its connection %u time%s, and was recovered\n", m->recovered,
                m->recovered == 1 ? "" : "s");
    fputs("  pause    ", to);
    report_pause_text(r, to);
    for (size_t i = 0; i < r->settings->set_n; i++)
        fprintf(to, "%s%s=%s", i == 0 ? "  set      " : ", ", r->settings->set[i].name,
                r->settings->set[i].value);
    if (r->settings->set_n > 0)
        fputc('\n', to);
    for (size_t i = 0; i < m->notices_n; i++)
        fprintf(to, "  noticed  %s\n", m->notices[i].why);
    report_observed_text(&r->observed, to);

    fputs("Where the time went:\n", to);
    for (size_t i = 0; i < m->phases.logged; i++) {
        const struct phase_entry *at = &m->phases.log[i];
        int64_t until_ns = i + 1 < m->phases.logged ? at[1].at_ns : m->ended_ns;
        fprintf(to, "  %-12s %9.1f ms\n", phase_name(at->phase), report_ms(until_ns - at->at_ns));
    }
}
