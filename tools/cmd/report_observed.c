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

/* All that are noticed. From the guest's stop, where it is known. */
static void observed_noticed(struct json *item, const struct observer_result *s,
                             const struct report_observed *r, const struct observer_pause *pause)
{
    bool any = s->count > 0 && s->quiet_ns >= 0;
    json_ms(item, "quiet_ms", any ? s->quiet_ns : -1);
    json_u64(item, "noticed_n", s->noticed_count);
    json_ms(item, "noticed_sum_ms", any ? s->noticed_sum_ns : -1);
    struct json *list = json_list(item, "noticed");
    for (size_t i = 0; i < s->noticed_n; i++) {
        const struct observer_silence *silence = &s->noticed[i];
        struct json *o = json_item(list);
        json_signed_ms(o, "began_ms", silence->began_ns - r->started_ns);
        json_signed_ms(o, "after_stop_ms",
                       pause->stopped_ns < 0 ? JSON_NEVER : silence->began_ns - pause->stopped_ns);
        json_ms(o, "length_ms", silence->length_ns);
        json_text(o, "place", observer_place_name(observer_place(silence, pause)));
        json_flag(o, "open", silence->open);
        json_ms(o, "observer_late_ms", silence->late_ns);
    }
}

/* What the network was told, and by whom. */
static void observed_announces(struct json *item, const struct observer_result *s,
                               const struct report_observed *r, const struct observer_pause *pause)
{
    json_text(item, "what", s->what);
    json_flag(item, "announced", observer_announced_after(s, pause) > 0);
    json_u64(item, "announcements_n", s->announced_count);
    struct json *list = json_list(item, "announcements");
    for (size_t i = 0; i < s->announced_n; i++) {
        const struct observer_announce *a = &s->announced[i];
        char mac[24];
        snprintf(mac, sizeof mac, "%02x:%02x:%02x:%02x:%02x:%02x", a->mac[0], a->mac[1], a->mac[2],
                 a->mac[3], a->mac[4], a->mac[5]);
        struct json *o = json_item(list);
        json_signed_ms(o, "t_ms", a->at_ns - r->started_ns);
        json_signed_ms(o, "after_stop_ms",
                       pause->stopped_ns < 0 ? JSON_NEVER : a->at_ns - pause->stopped_ns);
        json_text(o, "by", observer_announce_name(a->kind));
        json_text(o, "mac", mac);
    }
}

static void observed_json(struct json *item, const struct observer_result *s,
                          const struct report_observed *r, const struct observer_pause *pause)
{
    bool any = s->count > 0;
    if (s->kind == OBSERVER_ANNOUNCE) {
        observed_announces(item, s, r, pause);
        return;
    }
    json_text(item, "what", s->what);
    json_u64(item, "signs_of_life", s->count);
    json_ms(item, "longest_silence_ms", any ? s->longest_silence_ns : -1);
    json_ms(item, "silence_began_ms", any ? s->silence_began_ns - r->started_ns : -1);
    json_ms(item, "observer_late_ms", observed_late_ns(s));
    json_ms(item, "median_interval_ms", any ? s->median_interval_ns : -1);
    json_ms(item, "p99_interval_ms", any ? s->p99_interval_ns : -1);
    if (s->kind == OBSERVER_PING)
        json_u64(item, "sent", s->sent);
    json_u64(item, "lost", s->lost);
    json_u64(item, "duplicates", s->duplicates);
    json_u64(item, "restarts", s->restarts);
    json_signed_ms(item, "clock_step_ms", s->clock_step_ns); /* OBSERVER_NO_CLOCK is JSON_NEVER */
    observed_silences(json_list(item, "silences"), s, r->started_ns);
    observed_noticed(item, s, r, pause);
}

void report_observed_json(struct json *o, const struct report_observed *r)
{
    struct json *list = r->n > 0 ? json_list(o, "observers") : NULL;
    struct observer_pause pause = r->pause;
    observer_find_pause(r->at, r->n, &pause);
    for (size_t i = 0; i < r->n; i++)
        observed_json(json_item(list), &r->at[i], r, &pause);
}

/* People are shown the first of many. */
enum { OBSERVED_LINES = 8 };

static void observed_noticed_line(const struct observer_silence *s,
                                  const struct observer_pause *pause,
                                  const struct report_observed *r, FILE *to)
{
    enum observer_place place = observer_place(s, pause);
    fprintf(to, "  %-8s   %.1f ms", "", observed_ms(s->length_ns));
    if (pause->stopped_ns < 0)
        fprintf(to, ", %.1f ms after the start", observed_ms(s->began_ns - r->started_ns));
    else if (place == OBSERVER_SWITCHOVER)
        fputs(": the switchover", to);
    else
        fprintf(to, ", %.1f ms %s the guest's stop",
                observed_ms(s->began_ns < pause->stopped_ns ? pause->stopped_ns - s->began_ns
                                                            : s->began_ns - pause->stopped_ns),
                s->began_ns < pause->stopped_ns ? "before" : "after");
    fputs(s->open ? ", and still silent\n" : "\n", to);
}

static void observed_noticed_text(const struct observer_result *s,
                                  const struct observer_pause *pause,
                                  const struct report_observed *r, FILE *to)
{
    size_t after = 0, shown = s->noticed_n < OBSERVED_LINES ? s->noticed_n : OBSERVED_LINES;
    if (s->quiet_ns < 0)
        return;
    fprintf(to, "  %-8s %" PRIu64 " silence%s above %.1f ms (%d times the quiet level)%s", "",
            s->noticed_count, s->noticed_count == 1 ? "" : "s",
            observed_ms(s->quiet_ns * OBSERVER_QUIET_TIMES), OBSERVER_QUIET_TIMES,
            s->noticed_count > 0 ? "" : "\n");
    if (s->noticed_count > 0)
        fprintf(to, ", %.1f ms in all:\n", observed_ms(s->noticed_sum_ns));
    for (size_t i = 0; i < shown; i++)
        observed_noticed_line(&s->noticed[i], pause, r, to);
    if (s->noticed_count > shown)
        fprintf(to, "  %-8s   and %" PRIu64 " more; --json has them\n", "",
                s->noticed_count - shown);
    for (size_t i = 0; i < s->noticed_n; i++)
        after += observer_place(&s->noticed[i], pause) == OBSERVER_AFTER;
    if (after > 0)
        fprintf(to,
                "  %-8s %zu of them after the switchover: has the network been told of the move?\n",
                "", after);
}

static void observed_announced_text(const struct observer_result *s,
                                    const struct observer_pause *pause, FILE *to)
{
    size_t by[OBSERVER_UNSOLICITED_NA + 1] = {0}, after = observer_announced_after(s, pause);
    int64_t first_ns = -1;
    for (size_t i = 0; i < s->announced_n; i++) {
        const struct observer_announce *a = &s->announced[i];
        if (pause->stopped_ns >= 0 && a->at_ns < pause->stopped_ns)
            continue;
        by[a->kind]++;
        first_ns = first_ns < 0 ? a->at_ns : first_ns;
    }
    fprintf(to, "  announce ");
    if (after == 0) {
        fprintf(
            to,
            "NO announcement of the move was seen (%s): switches learn the new place only when the "
            "guest sends by itself\n",
            s->what);
        return;
    }
    fprintf(to, "%zu RARP, %zu gratuitous ARP, %zu unsolicited NA", by[OBSERVER_RARP],
            by[OBSERVER_GRATUITOUS_ARP], by[OBSERVER_UNSOLICITED_NA]);
    if (pause->stopped_ns >= 0)
        fprintf(to, ", the first %.1f ms after the guest's stop",
                observed_ms(first_ns - pause->stopped_ns));
    fputc('\n', to);
}

static void observed_clock_text(const struct observer_result *s, FILE *to)
{
    if (s->clock_step_ns == OBSERVER_NO_CLOCK)
        return;
    int64_t ns = s->clock_step_ns;
    fprintf(to, "  %-8s the guest's clock %s %.1f ms in the move\n", "", ns < 0 ? "lost" : "gained",
            observed_ms(ns < 0 ? -ns : ns));
}

static void observed_text(const struct observer_result *s, const struct observer_pause *pause,
                          const struct report_observed *r, FILE *to)
{
    if (s->kind == OBSERVER_ANNOUNCE) {
        observed_announced_text(s, pause, to);
        return;
    }
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
    if (s->count > 0)
        observed_noticed_text(s, pause, r, to);
    observed_clock_text(s, to);
    if (s->kind == OBSERVER_PING)
        fprintf(to, "  %-8s %" PRIu64 " of %" PRIu64 " echo requests lost\n", "", s->lost, s->sent);
    else if (s->lost > 0)
        fprintf(to, "  %-8s %" PRIu64 " heartbeats missing\n", "", s->lost);
    if (s->duplicates > 0)
        fprintf(to, "  %-8s %" PRIu64 " heartbeats came twice\n", "", s->duplicates);
}

void report_observed_text(const struct report_observed *r, FILE *to)
{
    struct observer_pause pause = r->pause;
    observer_find_pause(r->at, r->n, &pause);
    if (r->n > 0)
        fputs("From outside:\n", to);
    for (size_t i = 0; i < r->n; i++)
        observed_text(&r->at[i], &pause, r, to);
}
