/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cmd/report_watch.h"

#include <inttypes.h>

#include "core/json.h"
#include "core/units.h"

const char *watch_state_name(enum vm_migration m)
{
    static const char *const names[] = {
        [VM_MIGRATION_NONE] = "none",
        [VM_MIGRATION_SETUP] = "setup",
        [VM_MIGRATION_ACTIVE] = "active",
        [VM_MIGRATION_POSTCOPY] = "postcopy",
        [VM_MIGRATION_PAUSED] = "postcopy-paused",
        [VM_MIGRATION_DEVICE] = "device",
        [VM_MIGRATION_CANCELLING] = "cancelling",
        [VM_MIGRATION_CANCELLED] = "cancelled",
        [VM_MIGRATION_FAILED] = "failed",
        [VM_MIGRATION_COMPLETED] = "completed",
        [VM_MIGRATION_UNKNOWN] = "unknown",
    };
    return names[m];
}

static const char *watch_end_name(enum watch_end end)
{
    static const char *const names[] = {[WATCH_GOES_ON] = "goes-on",
                                        [WATCH_COMPLETED] = "completed",
                                        [WATCH_FAILED] = "failed",
                                        [WATCH_CANCELLED] = "cancelled",
                                        [WATCH_LOST] = "lost"};
    return names[end];
}

/* The dirty rate is of the pass before: in the first there is none. */
static bool watch_rates_are_known(const struct watch_sample *s)
{
    return s->vm.migration == VM_MIGRATION_ACTIVE && s->vm.passes > 1 &&
           s->vm.bandwidth_bytes_per_s > 0;
}

bool watch_falls_behind(const struct watch_sample *s)
{
    return watch_rates_are_known(s) && s->vm.dirty_bytes_per_s >= s->vm.bandwidth_bytes_per_s;
}

/* What is left, at the speed at which it becomes less; -1: it does not, or that is not known. */
static int64_t watch_eta_ns(const struct watch_sample *s)
{
    const struct vm_sample *vm = &s->vm;
    bool postcopy = vm->migration == VM_MIGRATION_POSTCOPY;
    uint64_t dirty = postcopy ? 0 : vm->dirty_bytes_per_s;
    if (!vm_migration_busy(vm->migration) || vm->bandwidth_bytes_per_s <= dirty)
        return -1;
    double eta_ns = (double)vm->ram_remaining_bytes * 1e9 /
                    (double)(vm->bandwidth_bytes_per_s - dirty);
    return eta_ns < 1e18 ? (int64_t)eta_ns : -1;
}

/* ---- for people ---- */

#define ROW_FORMAT "%8s  %-10s %5s %11s %11s %13s %13s %9s %8s  %s"

void report_watch_head(FILE *to)
{
    fprintf(to, ROW_FORMAT "\n", "TIME", "STATE", "PASS", "SENT", "LEFT", "DIRTIED/s", "SENT/s",
            "DOWNTIME", "THROTTLE", "ETA");
}

static const char *row_outlook(const struct watch_view *v, char *text, size_t size)
{
    int64_t eta_ns = watch_eta_ns(&v->sample);
    if (v->diverges)
        return "does not converge at this rate";
    if (eta_ns < 0)
        return "-";
    snprintf(text, size, "%.0f s", (double)eta_ns / 1e9);
    return text;
}

void report_watch_row(const struct watch_view *v, char *line, size_t size)
{
    const struct vm_sample *vm = &v->sample.vm;
    char sent[UNITS_TEXT_MAX], left[UNITS_TEXT_MAX], dirty[UNITS_TEXT_MAX], rate[UNITS_TEXT_MAX];
    char time[24], pass[24], downtime[24], throttle[8], eta[32];
    snprintf(time, sizeof time, "%.1f s", (double)v->elapsed_ns / 1e9);
    snprintf(pass, sizeof pass, "%" PRIu64, vm->passes);
    snprintf(downtime, sizeof downtime, "%.0f ms", (double)vm->expected_downtime_ns / 1e6);
    snprintf(throttle, sizeof throttle, "%u %%", v->sample.vm.throttle_percent);
    snprintf(line, size, ROW_FORMAT, time, watch_state_name(vm->migration), pass,
             units_format_size(sent, vm->ram_transferred_bytes),
             units_format_size(left, vm->ram_remaining_bytes),
             units_format_size(dirty, vm->dirty_bytes_per_s),
             units_format_size(rate, vm->bandwidth_bytes_per_s),
             vm->expected_downtime_ns > 0 ? downtime : "-", throttle,
             row_outlook(v, eta, sizeof eta));
}

static void summary_begin(const struct watch_view *v, FILE *to)
{
    const char *where = v->postcopy ? "it was in postcopy: look at both sides, where the guest runs"
                                    : "the guest is on the source";
    switch (v->end) {
    case WATCH_COMPLETED: fputs("The migration has completed.\n", to); break;
    case WATCH_CANCELLED: fprintf(to, "The migration was cancelled: %s.\n", where); break;
    case WATCH_FAILED:
        fprintf(to, "The migration has failed%s%s: %s.\n", v->sample.vm.reason != NULL ? ", " : "",
                v->sample.vm.reason != NULL ? v->sample.vm.reason : "", where);
        break;
    case WATCH_LOST:
        fprintf(to, "The QEMU %s while it migrated.\n",
                v->unreachable ? "could not be reached any more" : "has ended");
        break;
    case WATCH_GOES_ON:
        fputs(v->unreachable ? "The migration may go on: the QEMU could not be reached any more.\n"
                             : "The migration goes on.\n",
              to);
        break;
    }
}

void report_watch_summary(const struct watch_view *v, FILE *to)
{
    const struct watch_sample *s = &v->sample;
    char sent[UNITS_TEXT_MAX];
    summary_begin(v, to);
    int64_t total_ns = s->total_ns > 0 && v->end != WATCH_GOES_ON ? s->total_ns : v->elapsed_ns;
    fprintf(to, "  total     %.1f s, %s of RAM sent", (double)total_ns / 1e9,
            units_format_size(sent, s->vm.ram_transferred_bytes));
    if (s->vm.passes > 0)
        fprintf(to, " in %" PRIu64 " pass%s", s->vm.passes, s->vm.passes > 1 ? "es" : "");
    fputc('\n', to);
    if (v->counted_by != NULL)
        fprintf(to, "  downtime  %.0f ms, as %s counts it\n", (double)s->vm.downtime_ns / 1e6,
                v->counted_by);
    else if (v->end == WATCH_COMPLETED)
        fputs("  downtime  not known: the QEMU had ended before it could be asked\n", to);
    if (s->vm.throttle_percent > 0)
        fprintf(to, "  throttle  the guest had %u %% of its processor time taken away\n",
                s->vm.throttle_percent);
    if (s->postcopy_requests > 0)
        fprintf(to, "  postcopy  %" PRIu64 " pages were asked for\n", s->postcopy_requests);
    if (s->vm.zero_copy_missed > 0)
        fprintf(to, "  zero-copy missed in %" PRIu64 " passes: the pages were copied\n",
                s->vm.zero_copy_missed);
}

/* ---- for programs ---- */

void report_watch_json(const struct watch_view *v, int fd)
{
    const struct watch_sample *s = &v->sample;
    bool ended = v->end != WATCH_GOES_ON;
    struct json *o = json_new();
    json_text(o, "event", ended ? "end" : "sample");
    json_text(o, "target", v->target);
    if (ended)
        json_text(o, "result", watch_end_name(v->end));
    if (v->end == WATCH_LOST)
        json_flag(o, "unreachable", v->unreachable);
    json_ms(o, "t_ms", v->elapsed_ns);
    json_text(o, "status", watch_state_name(s->vm.migration));
    json_u64(o, "passes", s->vm.passes);
    json_u64(o, "ram_total_bytes", s->vm.ram_total_bytes);
    json_u64(o, "ram_transferred_bytes", s->vm.ram_transferred_bytes);
    json_u64(o, "ram_remaining_bytes", s->vm.ram_remaining_bytes);
    json_u64(o, "dirty_bytes_per_s", s->vm.dirty_bytes_per_s);
    json_u64(o, "bandwidth_bytes_per_s", s->vm.bandwidth_bytes_per_s);
    json_ms(o, "expected_downtime_ms", s->vm.expected_downtime_ns);
    json_u64(o, "throttle_percent", s->vm.throttle_percent);
    json_flag(o, "postcopy", v->postcopy);
    json_u64(o, "postcopy_bytes", s->postcopy_bytes);
    json_u64(o, "postcopy_requests", s->postcopy_requests);
    json_u64(o, "zero_copy_missed_passes", s->vm.zero_copy_missed);
    json_ms(o, "setup_ms", s->setup_ns);
    json_flag(o, "diverges", v->diverges);
    json_ms(o, "eta_ms", watch_eta_ns(s));
    if (ended) {
        json_ms(o, "downtime_ms", v->counted_by != NULL ? s->vm.downtime_ns : -1);
        json_text(o, "downtime_counted_by", v->counted_by);
        json_ms(o, "total_ms", s->total_ns > 0 ? s->total_ns : v->elapsed_ns);
        json_text(o, "reason", s->vm.reason);
    }
    json_line(o, fd);
}
