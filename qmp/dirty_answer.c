/* SPDX-License-Identifier: Apache-2.0 */
#include "qmp/dirty_answer.h"

#include <string.h>

#include "core/clock.h"
#include "core/log.h"
#include "qmp/field.h"

#define MIB 1048576.0
#define PAGE_BYTES 4096.0

/* 90 % of a normal distribution are within so many standard deviations. */
#define SAMPLING_Z 1.6449

/* The smallest ring that libvirt and KVM take; QEMU does not say how large it is. */
#define RING_ENTRIES_MIN 1024.0

enum curve_source dirty_source_of(const char *mode)
{
    static const enum curve_source sources[] = {CURVE_DIRTY_RING, CURVE_DIRTY_BITMAP,
                                                CURVE_PAGE_SAMPLING};
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++)
        if (strcmp(mode, curve_source_name(sources[i])) == 0)
            return sources[i];
    log_debug("QEMU counts dirty pages by '%s', which we do not know", mode);
    return CURVE_NONE;
}

static int answer_read_status(struct json_object *answer, struct dirty_answer *a, struct err *e)
{
    const char *status, *mode = "page-sampling"; /* before there were others it was not told */
    if (field_text(answer, "status", &status, e) < 0 ||
        field_text_opt(answer, "mode", &mode, e) < 0)
        return -1;
    a->status = strcmp(status, "measured") == 0    ? DIRTY_MEASURED
                : strcmp(status, "unstarted") == 0 ? DIRTY_UNSTARTED
                                                   : DIRTY_MEASURING;
    a->source = dirty_source_of(mode);
    return 0;
}

/* QEMU says -1 where it could not find it out; older ones also while they measure. */
static int answer_read_rate(struct json_object *o, int64_t *rate, struct err *e)
{
    *rate = -1;
    if (field_peek(o, "dirty-rate") == NULL)
        return 0;
    return json_find_i64((struct json *)o, "dirty-rate", rate, e);
}

static int answer_read_vcpus(struct json_object *answer, struct dirty_answer *a, struct err *e)
{
    struct json *list;
    size_t n;
    if (field_peek(answer, "vcpu-dirty-rate") == NULL)
        return 0;
    if (json_find_list((struct json *)answer, "vcpu-dirty-rate", &list, &n, e) < 0)
        return -1;
    for (size_t i = 0; i < n && i < DIRTY_VCPUS_MAX; i++) {
        struct json *at = json_nth(list, i);
        uint64_t id = 0;
        if (json_find_u64(at, "id", &id, e) < 0 ||
            answer_read_rate((struct json_object *)at, &a->vcpu_mib_per_s[i], e) < 0)
            return -1;
        a->vcpu_id[i] = (uint16_t)id;
        a->vcpus++;
    }
    return 0;
}

int dirty_answer_read(struct json_object *answer, bool milliseconds, struct dirty_answer *a,
                      struct err *e)
{
    int64_t window = 0;
    *a = (struct dirty_answer){0};
    if (answer_read_status(answer, a, e) < 0 || answer_read_rate(answer, &a->rate_mib_per_s, e) < 0)
        return -1;
    if (json_find_i64((struct json *)answer, "calc-time", &window, e) < 0 ||
        field_u64_opt(answer, "sample-pages", &a->sample_pages, e) < 0)
        return -1;
    if (window < 0 || window > 3600 * 1000)
        return err_set(e, ERR_PROTO, 0, "calc-time: no length of time");
    a->window_ns = window * (milliseconds ? NS_PER_MS : NS_PER_S);
    return answer_read_vcpus(answer, a, e);
}

/* ---- from a rate to bytes ---- */

static double dirty_mib(double rate_mib_per_s, int64_t ns)
{
    return rate_mib_per_s * MIB * (double)ns / 1e9;
}

struct estimate dirty_counted(int64_t rate, int64_t ns, bool twice)
{
    if (rate < 0)
        rate = 0;
    double low = dirty_mib((double)rate, ns);
    double high = dirty_mib((double)rate + 1, ns) + (twice ? MIB : 0);
    return (struct estimate){low, rate == 0 ? 0 : (low + high) / 2, high};
}

/* One end of Wilson's interval for a share of which `n` draws have shown `share`. */
static double sampling_end(double share, double n, double side)
{
    const double z = SAMPLING_Z;
    double middle = share + z * z / (2 * n);
    double half = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n));
    double end = (middle + side * half) / (1 + z * z / n);
    return end < 0 ? 0 : end > 1 ? 1 : end;
}

struct estimate dirty_sampled(int64_t rate, int64_t ns, uint64_t pages, uint64_t ram_bytes)
{
    double ram = (double)ram_bytes, n = (double)pages;
    struct estimate rounded = dirty_counted(rate, ns, false);
    if (ram <= 0 || n < 1)
        return (struct estimate){0, rounded.likely, INFINITY};
    struct estimate share = estimate_clamp(estimate_scale(rounded, 1 / ram), 0, 1);
    double low = ram * sampling_end(share.low, n, -1);
    double high = ram * sampling_end(share.high, n, 1);
    double likely = ram * share.likely;
    return (struct estimate){fmin(low, likely), likely, fmax(high, likely)};
}

struct estimate dirty_ringed(const struct dirty_answer *a, int64_t ns, bool twice)
{
    struct estimate all = estimate_exactly(0);
    for (size_t i = 0; i < a->vcpus; i++)
        all = estimate_add(all, dirty_counted(a->vcpu_mib_per_s[i], ns, twice));
    if (a->vcpus == 0)
        all = dirty_counted(a->rate_mib_per_s, ns, twice);
    double seconds = ceil((double)ns / 1e9);
    double emptied = 1 + seconds + all.low / (RING_ENTRIES_MIN * PAGE_BYTES);
    double least = all.low / emptied / (a->vcpus > 1 ? (double)a->vcpus : 1);
    /* emptied by the clock alone: the same pages each time, or others each time */
    double likely = all.likely / sqrt(seconds);
    return (struct estimate){fmin(least, likely), likely, all.high};
}

struct estimate dirty_shortened(struct estimate bytes, int64_t asked_ns, int64_t measured_ns,
                                int64_t longest_ns)
{
    double asked = (double)asked_ns;
    double likely = measured_ns > asked_ns ? asked / (double)measured_ns : 1;
    double low = longest_ns > asked_ns ? asked / (double)longest_ns : 1;
    return (struct estimate){bytes.low * fmin(low, likely), bytes.likely * likely, bytes.high};
}
