/* SPDX-License-Identifier: Apache-2.0 */
/* The metrics of `godwit watch`. */
#include "tools/cmd/metrics_file.h"
#include "tools/cmd/report_watch.h"

static void metrics_one(FILE *to, const struct watch_view *v, const char *name, const char *help,
                        double value)
{
    char whole[64];
    snprintf(whole, sizeof whole, "godwit_migration_%s", name);
    metrics_head(to, whole, "gauge", help);
    fprintf(to, "%s{target=\"", whole);
    metrics_label(to, v->target);
    fprintf(to, "\"} %.15g\n", value);
}

static void metrics_states(FILE *to, const struct watch_view *v)
{
    metrics_head(to, "godwit_migration_state", "gauge",
                 "1 for the state that the migration is in, 0 for all others.");
    /* one that QEMU could not be asked for any more is still known to have ended */
    enum vm_migration now = v->end == WATCH_COMPLETED   ? VM_MIGRATION_COMPLETED
                            : v->end == WATCH_FAILED    ? VM_MIGRATION_FAILED
                            : v->end == WATCH_CANCELLED ? VM_MIGRATION_CANCELLED
                            : v->end == WATCH_LOST      ? VM_MIGRATION_UNKNOWN
                                                        : v->sample.vm.migration;
    for (int m = VM_MIGRATION_NONE; m <= VM_MIGRATION_UNKNOWN; m++) {
        fputs("godwit_migration_state{target=\"", to);
        metrics_label(to, v->target);
        fprintf(to, "\",state=\"%s\"} %d\n", watch_state_name((enum vm_migration)m), m == (int)now);
    }
}

static double metrics_s(int64_t ns)
{
    return (double)ns / 1e9;
}

static void metrics_times(FILE *to, const struct watch_view *v)
{
    const struct watch_sample *s = &v->sample;
    if (v->sampled_epoch_ns != 0)
        metrics_one(to, v, "sample_timestamp_seconds", "When QEMU was last asked.",
                    metrics_s(v->sampled_epoch_ns));
    if (v->begun) {
        metrics_one(to, v, "start_timestamp_seconds", "When the migration was seen to begin.",
                    metrics_s(v->began_epoch_ns));
        metrics_one(to, v, "elapsed_seconds", "How long it has taken so far, or in all.",
                    metrics_s(v->elapsed_ns));
    }
    if (v->end == WATCH_GOES_ON)
        return;
    metrics_one(to, v, "end_timestamp_seconds", "When the migration was seen to end.",
                metrics_s(v->ended_epoch_ns));
    if (v->counted_by != NULL)
        metrics_one(to, v, "downtime_seconds",
                    "How long the guest stood still, as QEMU or libvirt counts.",
                    metrics_s(s->vm.downtime_ns));
}

static void metrics_write(FILE *to, const void *view)
{
    const struct watch_view *v = view;
    const struct watch_sample *s = &v->sample;
    const struct {
        const char *name, *help;
        double value;
    } values[] = {
        {"passes", "Passes over RAM, the first included.", (double)s->vm.passes},
        {"ram_bytes", "RAM of the guest.", (double)s->vm.ram_total_bytes},
        {"transferred_bytes", "RAM that was sent.", (double)s->vm.ram_transferred_bytes},
        {"remaining_bytes", "RAM that is still to be sent.", (double)s->vm.ram_remaining_bytes},
        {"dirty_bytes_per_second", "RAM that the guest dirties.", (double)s->vm.dirty_bytes_per_s},
        {"bandwidth_bytes_per_second", "How fast QEMU sends.", (double)s->vm.bandwidth_bytes_per_s},
        {"diverges", "1 where the guest dirties RAM faster than it is sent, pass after pass.",
         v->diverges},
        {"expected_downtime_seconds", "What QEMU expects, of RAM only.",
         metrics_s(s->vm.expected_downtime_ns)},
        {"throttle_ratio", "Processor time that is taken from the guest (auto-converge).",
         s->vm.throttle_percent / 100.0},
        {"postcopy",
         "1 once postcopy was seen: unless it completes, the guest may be on either side.",
         v->postcopy},
        {"postcopy_bytes", "Sent in postcopy.", (double)s->postcopy_bytes},
        {"postcopy_requests", "Pages that the destination asked for.",
         (double)s->postcopy_requests},
        {"zero_copy_missed_passes", "Passes that were copied although zero-copy was asked for.",
         (double)s->vm.zero_copy_missed},
        {"setup_seconds", "How long the setup took.", metrics_s(s->setup_ns)},
    };
    metrics_states(to, v);
    for (size_t i = 0; v->sampled && i < sizeof values / sizeof *values; i++)
        metrics_one(to, v, values[i].name, values[i].help, values[i].value);
    metrics_times(to, v);
}

int report_watch_metrics(const struct watch_view *v, const char *path, struct err *e)
{
    return metrics_file_write(path, metrics_write, v, e);
}
