/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cmd/report_observed.h"

#include <inttypes.h>

static double observed_ms(int64_t ns)
{
    return (double)ns / 1e6;
}

/* How late the observer itself ran in the longest silence. */
static int64_t observed_late_ns(const struct observer_result *s)
{
    return s->count > 0 && s->silences_n > 0 ? s->silences[0].late_ns : -1;
}

/* The number of a spec among those given, from 0; null: none. */
static void observed_spec(struct json *o, const char *key, int spec)
{
    if (spec < 0)
        json_text(o, key, NULL);
    else
        json_u64(o, key, (uint64_t)spec);
}

static void observed_silences(struct json *list, const struct observer_result *s,
                              int64_t started_ns)
{
    for (size_t i = 0; i < s->silences_n; i++) {
        const struct observer_silence *silence = &s->silences[i];
        struct json *o = json_item(list);
        json_ms(o, "began_ms", silence->began_ns - started_ns);
        json_ms(o, "length_ms", silence->length_ns);
        observed_spec(o, "from", silence->from);
        observed_spec(o, "to", silence->to);
        json_flag(o, "open", silence->open);
        json_ms(o, "observer_late_ms", silence->late_ns);
    }
}

void report_observed_json(struct json *o, const struct observer_result *observed, size_t n,
                          int64_t started_ns)
{
    struct json *list = n > 0 ? json_list(o, "observers") : NULL;
    for (size_t i = 0; i < n; i++) {
        const struct observer_result *s = &observed[i];
        bool any = s->count > 0;
        struct json *item = json_item(list);
        json_text(item, "what", s->what);
        json_u64(item, "signs_of_life", s->count);
        json_ms(item, "longest_silence_ms", any ? s->longest_silence_ns : -1);
        json_ms(item, "silence_began_ms", any ? s->silence_began_ns - started_ns : -1);
        json_ms(item, "observer_late_ms", observed_late_ns(s));
        json_ms(item, "median_interval_ms", any ? s->median_interval_ns : -1);
        json_ms(item, "p99_interval_ms", any ? s->p99_interval_ns : -1);
        if (s->kind == OBSERVER_PING)
            json_u64(item, "sent", s->sent);
        json_u64(item, "lost", s->lost);
        json_u64(item, "duplicates", s->duplicates);
        json_u64(item, "restarts", s->restarts);
        observed_silences(json_list(item, "silences"), s, started_ns);
    }
}

static void observed_text(const struct observer_result *s, FILE *to)
{
    static const char *const kinds[] = {[OBSERVER_PING] = "ping", [OBSERVER_SERIAL] = "serial"};
    if (s->count == 0)
        fprintf(to, "  %-8s no sign of life at all: %s\n", kinds[s->kind], s->what);
    else
        fprintf(to,
                "  %-8s silent for %.1f ms at the longest (a sign of life each %.1f ms before, "
                "p99 %.1f)%s\n",
                kinds[s->kind], observed_ms(s->longest_silence_ns),
                observed_ms(s->median_interval_ns), observed_ms(s->p99_interval_ns),
                s->silences_n > 0 && s->silences[0].open ? ", and still silent" : "");
    if (s->count > 0 && observed_late_ns(s) > s->longest_silence_ns / 5)
        fprintf(to, "  %-8s of which the observer may have slept %.1f ms itself\n", "",
                observed_ms(observed_late_ns(s)));
    if (s->kind == OBSERVER_PING)
        fprintf(to, "  %-8s %" PRIu64 " of %" PRIu64 " echo requests lost\n", "", s->lost, s->sent);
    else if (s->lost > 0)
        fprintf(to, "  %-8s %" PRIu64 " heartbeats missing\n", "", s->lost);
    if (s->duplicates > 0)
        fprintf(to, "  %-8s %" PRIu64 " heartbeats came twice\n", "", s->duplicates);
}

void report_observed_text(const struct observer_result *observed, size_t n, FILE *to)
{
    if (n > 0)
        fputs("From outside:\n", to);
    for (size_t i = 0; i < n; i++)
        observed_text(&observed[i], to);
}
