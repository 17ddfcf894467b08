/* SPDX-License-Identifier: Apache-2.0 */
/* godwit bench replay TRACE: a recorded migration, through the controller again. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "core/json.h"
#include "core/tune/replay.h"
#include "tools/cmd/bench.h"

struct replay_call {
    bool json;
    const char *file;
    struct trace trace;
    struct replay replay;
};

static const struct option_def options[] = {
    {"json", 0, OPTION_FLAG, NULL, "print the decisions as one JSON object",
     offsetof(struct replay_call, json), 0, 0, NULL},
    OPTION_END,
};

/* "limit 38 ms", "throttle 20%", "nothing". */
static const char *replay_words(const struct control_action *a, char text[64])
{
    const char *name = control_what_name(a->what), *miss = a->miss ? ", a miss" : "";
    if (a->what == CONTROL_LIMIT)
        snprintf(text, 64, "%s %.0f ms%s", name, (double)a->limit_ns / 1e6, miss);
    else if (a->what == CONTROL_THROTTLE)
        snprintf(text, 64, "%s %u%%%s", name, a->throttle_percent, miss);
    else
        snprintf(text, 64, "%s%s", name, miss);
    return text;
}

static void replay_print_decision(const struct replay_decision *d, FILE *to)
{
    char now[64], then[64];
    const struct control_action *a = d->now.what != CONTROL_NOTHING ? &d->now : &d->then;
    fprintf(to, "%8.3f s  %s", (double)a->at_ns / 1e9, replay_words(&d->now, now));
    if (!d->same)
        fprintf(to, "   THEN: %s", replay_words(&d->then, then));
    if (d->now.what != CONTROL_NOTHING)
        fprintf(to, "\n            %s", d->now.why);
    if (!d->same && d->then.what != CONTROL_NOTHING)
        fprintf(to, "\n      then: %s", d->then.why);
    fputc('\n', to);
}

static void replay_print(const struct replay_call *c, FILE *to)
{
    const struct replay *r = &c->replay;
    bool said = false;
    fprintf(to, "%s: %zu samples of a migration by route %s, %s then, by godwit %s\n", c->file,
            c->trace.n, c->trace.route, c->trace.result, c->trace.godwit);
    if (r->refused_now != NULL)
        fprintf(to, "refused now: %s\n", r->refused_now);
    if (r->refused_then)
        fputs("refused then, before it began\n", to);
    for (size_t i = 0; i < r->n; i++) {
        replay_print_decision(&r->decisions[i], to);
        if (!r->decisions[i].same && !said && i + 1 < r->n)
            fputs(
                "            (from here on the samples are of a migration that was steered otherwise)\n",
                to);
        said |= !r->decisions[i].same;
    }
    if (c->trace.dropped > 0)
        fprintf(to, "the last %zu samples were not recorded\n", c->trace.dropped);
    fputs(r->same ? "decided as it was then\n" : "DECIDED OTHERWISE\n", to);
}

static void replay_json_action(struct json *o, const char *key, const struct control_action *a)
{
    struct json *to = json_node(o, key);
    json_text(to, "what", control_what_name(a->what));
    if (a->what == CONTROL_LIMIT)
        json_ms(to, "limit_ms", a->limit_ns);
    if (a->what == CONTROL_THROTTLE)
        json_u64(to, "throttle_percent", a->throttle_percent);
    json_flag(to, "miss", a->miss);
    json_text(to, "why", a->why);
}

static void replay_json(const struct replay_call *c, const struct err *e, FILE *to)
{
    const struct replay *r = &c->replay;
    struct json *o = json_new();
    if (e->class == ERR_NONE) {
        json_flag(o, "same", r->same);
        json_u64(o, "samples", c->trace.n);
        json_u64(o, "dropped", c->trace.dropped);
        json_text(o, "result", c->trace.result);
        json_text(o, "refused", r->refused_now);
        json_flag(o, "refused_then", r->refused_then);
        struct json *list = json_list(o, "decisions");
        for (size_t i = 0; i < r->n; i++) {
            const struct replay_decision *d = &r->decisions[i];
            struct json *item = json_item(list);
            json_ms(item, "t_ms", d->now.what != CONTROL_NOTHING ? d->now.at_ns : d->then.at_ns);
            json_flag(item, "same", d->same);
            replay_json_action(item, "now", &d->now);
            replay_json_action(item, "then", &d->then);
        }
    }
    json_error(o, e);
    json_print(o, to);
}

static int replay_do(struct replay_call *c, struct err *e)
{
    FILE *from = strcmp(c->file, "-") == 0 ? stdin : fopen(c->file, "re");
    if (from == NULL)
        return err_set(e, ERR_REFUSED, errno, "%s: cannot be read", c->file);
    int rc = trace_read(from, c->file, &c->trace, e);
    if (from != stdin)
        fclose(from);
    return rc < 0 ? -1 : replay_run(&c->trace, &c->replay, e);
}

static int replay_main(const struct command *self, int argc, char **argv)
{
    struct replay_call c = {.json = false};
    struct err e = {0};
    int code;
    int first = command_parse(self, &c, argc, argv, 1, 1, &code);
    if (first < 0)
        return code;
    c.file = argv[first];
    int rc = replay_do(&c, &e);
    if (c.json)
        replay_json(&c, &e, stdout);
    else if (rc == 0)
        replay_print(&c, stdout);
    code = rc < 0 ? command_fail(&e) : c.replay.same ? EXIT_DONE : EXIT_FAILED;
    replay_free(&c.replay);
    trace_free(&c.trace);
    return code;
}

const struct command command_bench_replay = {
    .name = "bench replay",
    .operands = "TRACE",
    .summary = "Put a recorded migration through the controller again",
    .details =
        "TRACE is what 'godwit migrate --trace' has written; - is standard input. Each decision is\n"
        "printed with its numbers, and what was done then where that was something else. Exit code:\n"
        "0 it decides the same, 1 it does not, 2 that is no whole trace that it can read.\n",
    .options = options,
    .run = replay_main,
};
