/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * Samples come at any pace, so all rates are of windows of at least a second, and nothing is said because of
 * one window: a machine that is busy for a moment is no news. What a link carries is what was seen on it, in
 * this migration or in earlier ones; nobody believes what a card says of itself.
 */
#include "core/tune/notice.h"

#include <inttypes.h>

#include "core/clock.h"
#include "core/text.h"
#include "core/units.h"

#define NOTICE_WINDOW_NS NS_PER_S
/* For how many windows. */
#define NOTICE_WINDOWS 2
/* In the first moments sockets fill, and threads start. */
#define NOTICE_BEGIN_NS NS_PER_S
/* Far below what the link carries; far off what is sent. */
#define NOTICE_STARVED_PART 0.25
#define NOTICE_OFF_FACTOR 2.0
/* Of a pass that is over sooner than this the wire's rate says little. */
#define NOTICE_LEFT_S 0.5
/* Postcopy sends what is asked for first, page by page: that takes longer by its nature. */
#define NOTICE_POSTCOPY_FACTOR 2
#define NOTICE_POSTCOPY_SLACK_NS NS_PER_S

const char *notice_name(enum notice_what what)
{
    static const char *const names[] = {
        [NOTICE_ZERO_COPY] = "zero-copy", [NOTICE_BANDWIDTH] = "bandwidth",
        [NOTICE_STARVED] = "starved",     [NOTICE_IO_ERROR] = "io-error",
        [NOTICE_POSTCOPY] = "postcopy",
    };
    return names[what];
}

static const char *notice_size(double bytes)
{
    char text[UNITS_TEXT_MAX];
    return text_keep("%s", units_format_size(text, (uint64_t)bytes));
}

static bool notice_tell(struct notice_state *n, enum notice_what what, int64_t at_ns,
                        const char *why, struct notice *out)
{
    n->told |= 1u << what;
    *out = (struct notice){.what = what, .at_ns = at_ns, .why = why};
    return true;
}

static bool notice_is_told(const struct notice_state *n, enum notice_what what)
{
    return (n->told & (1u << what)) != 0;
}

static void notice_begin_window(struct notice_state *n, const struct vm_sample *s, int64_t at_ns)
{
    n->from_ns = at_ns;
    n->from_sent_bytes = s->ram_transferred_bytes;
    n->from_handled_bytes = s->ram_handled_bytes;
    n->estimates_sum = 0;
    n->estimates = 0;
}

/* What the link has carried, as far as this migration may use it; 0: not known. */
static double notice_link(const struct notice_state *n)
{
    double link = n->link_bytes_per_s > n->best_bytes_per_s ? n->link_bytes_per_s
                                                            : n->best_bytes_per_s;
    double most = (double)n->max_bandwidth_bytes_per_s;
    return most > 0 && most < link ? most : link;
}

static bool notice_is_off(double estimate, double rate)
{
    return estimate > rate * NOTICE_OFF_FACTOR || rate > estimate * NOTICE_OFF_FACTOR;
}

/* The end of a window. `handled`: with pages of zeros and compressed ones more is dealt with than sent. */
static bool notice_judge_window(struct notice_state *n, const struct vm_sample *s, double rate,
                                double handled, int64_t at_ns, struct notice *out)
{
    double link = notice_link(n), estimate = n->estimates_sum / n->estimates;
    bool much_left = (double)s->ram_remaining_bytes > link * NOTICE_LEFT_S;
    bool starved = link > 0 && much_left && rate < link * NOTICE_STARVED_PART &&
                   handled < link * NOTICE_STARVED_PART;
    n->starved = starved ? n->starved + 1 : 0;
    n->off = estimate > 0 && notice_is_off(estimate, rate) ? n->off + 1 : 0;
    if (n->starved >= NOTICE_WINDOWS && !notice_is_told(n, NOTICE_STARVED))
        return notice_tell(
            n, NOTICE_STARVED, at_ns,
            text_keep(
                "%s/s are sent, on a link that has carried %s/s, and no limit is reached: the "
                "migration's thread gets too little of a processor, or others use the link",
                notice_size(rate), notice_size(link)),
            out);
    if (n->off >= NOTICE_WINDOWS && !notice_is_told(n, NOTICE_BANDWIDTH))
        return notice_tell(
            n, NOTICE_BANDWIDTH, at_ns,
            text_keep("QEMU reckons with %s/s, and %s/s were seen on the wire: its switchover will "
                      "come too %s",
                      notice_size(estimate), notice_size(rate), estimate > rate ? "early" : "late"),
            out);
    return false;
}

static bool notice_precopy(struct notice_state *n, const struct vm_sample *s, int64_t at_ns,
                           struct notice *out)
{
    if (at_ns < NOTICE_BEGIN_NS)
        return false;
    if (n->from_ns == 0 || s->ram_transferred_bytes < n->from_sent_bytes) {
        notice_begin_window(n, s, at_ns);
        return false;
    }
    n->estimates_sum += (double)s->bandwidth_bytes_per_s;
    n->estimates++;
    int64_t span_ns = at_ns - n->from_ns;
    if (span_ns < NOTICE_WINDOW_NS)
        return false;
    double seconds = (double)span_ns / 1e9;
    double rate = (double)(s->ram_transferred_bytes - n->from_sent_bytes) / seconds;
    double handled = s->ram_handled_bytes > n->from_handled_bytes
                         ? (double)(s->ram_handled_bytes - n->from_handled_bytes) / seconds
                         : 0;
    bool tells = rate > 0 && notice_judge_window(n, s, rate, handled, at_ns, out);
    if (rate > 0)
        n->last_bytes_per_s = rate;
    if (rate > n->best_bytes_per_s)
        n->best_bytes_per_s = rate;
    notice_begin_window(n, s, at_ns);
    return tells;
}

static bool notice_postcopy(struct notice_state *n, const struct vm_sample *s, int64_t at_ns,
                            struct notice *out)
{
    double rate = n->last_bytes_per_s > 0 ? n->last_bytes_per_s : (double)s->bandwidth_bytes_per_s;
    if (n->postcopy_from_ns == 0) {
        n->postcopy_from_ns = at_ns;
        n->postcopy_need_ns = rate > 0 ? (int64_t)((double)s->ram_remaining_bytes / rate * 1e9) : 0;
    }
    int64_t taken_ns = at_ns - n->postcopy_from_ns;
    if (n->postcopy_need_ns <= 0 || s->ram_remaining_bytes == 0 ||
        taken_ns < NOTICE_POSTCOPY_FACTOR * n->postcopy_need_ns + NOTICE_POSTCOPY_SLACK_NS ||
        notice_is_told(n, NOTICE_POSTCOPY))
        return false;
    return notice_tell(
        n, NOTICE_POSTCOPY, at_ns,
        text_keep(
            "postcopy has taken %.1f s, where %.1f s were to be expected when it began, and %s "
            "are left: the guest waits for each page that it needs; --set postcopy-preempt=on lets "
            "those pass the others",
            (double)taken_ns / 1e9, (double)n->postcopy_need_ns / 1e9,
            notice_size((double)s->ram_remaining_bytes)),
        out);
}

bool notice_step(struct notice_state *n, const struct vm_sample *s, int64_t at_ns,
                 struct notice *out)
{
    if (s->io_error && !notice_is_told(n, NOTICE_IO_ERROR))
        return notice_tell(
            n, NOTICE_IO_ERROR, at_ns,
            "an I/O error has stopped the guest on the source: that is no "
            "switchover, and it will stand on the destination, too, until its disk is "
            "seen to and it is resumed",
            out);
    if (s->zero_copy_missed > 0 && !notice_is_told(n, NOTICE_ZERO_COPY))
        return notice_tell(
            n, NOTICE_ZERO_COPY, at_ns,
            text_keep("zero-copy falls back: %" PRIu64
                      " passes were copied (dirty-sync-missed-zero-copy). A link "
                      "within one machine, or a card without scatter and gather, cannot do it",
                      s->zero_copy_missed),
            out);
    if (s->migration == VM_MIGRATION_POSTCOPY)
        return notice_postcopy(n, s, at_ns, out);
    return s->migration == VM_MIGRATION_ACTIVE && s->run == VM_RUN_RUNNING &&
           notice_precopy(n, s, at_ns, out);
}
