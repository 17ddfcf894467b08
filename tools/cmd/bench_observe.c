/* SPDX-License-Identifier: Apache-2.0 */
/*
 * godwit bench observe -- COMMAND: what a guest's users feel while any command runs. One meter for
 * godwit and its peers, which have none.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "bench/child.h"
#include "bench/observe/observer.h"
#include "core/cleanup.h"
#include "core/clock.h"
#include "core/log.h"
#include "tools/cmd/bench.h"
#include "tools/cmd/report_observed.h"

enum { OBSERVE_WORDS_MAX = 1000, OBSERVE_LINE_MAX = 4096, OBSERVE_SAID_MAX = 64 * 1024 };

/* A look at the undisturbed guest before, and the first signs of life and some more after. */
#define OBSERVE_MARGIN_NS NS_PER_S

struct observe_call {
    struct option_list observe;
    bool json, verbose;
    const char *const *argv;
    const char *result;
    int said; /* what the command printed, for the JSON object; else our standard output */
    int64_t began_epoch_ns;
    struct child_end end;
    bool has_run;
    struct observer_result seen[OPTION_LIST_MAX];
    size_t seen_n;
};

#define AT(field) offsetof(struct observe_call, field)

static const struct option_def options[] = {
    {"observe", 0, OPTION_LIST, "WHAT",
     "time the guest's silence from outside: ping:ADDRESS, serial:PATH (a log, pty or socket; give "
     "it for both sides), announce:IFNAME[@MAC] (whether the network is told of the move)",
     AT(observe), 0, 0, NULL},
    {"json", 0, OPTION_FLAG, NULL, "print the result as one JSON object", AT(json), 0, 0, NULL},
    {"verbose", 'v', OPTION_FLAG, NULL, "say more", AT(verbose), 0, 0, NULL},
    OPTION_END,
};

/* A signal cuts it short. */
static void observe_pause(void)
{
    const struct timespec margin = {.tv_sec = OBSERVE_MARGIN_NS / NS_PER_S};
    nanosleep(&margin, NULL);
}

static int observe_do(struct observe_call *c, struct err *e)
{
    const volatile sig_atomic_t *interrupted = bench_catch_signals();
    c->said = c->json ? memfd_create("said", MFD_CLOEXEC)
                      : fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    if (c->said < 0)
        return err_set(e, ERR_IO, errno, "cannot redirect standard output");
    struct observer *o = observer_open(c->observe.at, c->observe.n, e);
    if (o == NULL)
        return err_wrap(e, "--observe");
    observe_pause();
    observer_mark(o);
    int rc = -1;
    if (*interrupted != 0) {
        err_set(e, ERR_CANCELLED, 0, "interrupted before %s was started", c->argv[0]);
    } else {
        c->began_epoch_ns = clock_epoch_ns();
        rc = child_run_to(c->argv, c->said, STDERR_FILENO, interrupted, &c->end, e);
        c->has_run = c->end.ended_ns > 0;
        observe_pause();
    }
    c->seen_n = observer_stop(o, c->seen, OPTION_LIST_MAX);
    return rc;
}

/* The words with a blank between them, as in a log: for people. */
static void observe_command_line(const char *const *argv, char line[OBSERVE_LINE_MAX])
{
    size_t n = 0;
    line[0] = '\0';
    for (; *argv != NULL && n < OBSERVE_LINE_MAX; argv++)
        n += (size_t)snprintf(line + n, OBSERVE_LINE_MAX - n, "%s%s", n > 0 ? " " : "", *argv);
}

/* "" when it said nothing; the first part of what is too long. */
static void observe_said_json(struct json *o, int said)
{
    CLEANUP_FREE char *text = malloc(OBSERVE_SAID_MAX);
    ssize_t n = text != NULL ? pread(said, text, OBSERVE_SAID_MAX - 1, 0) : -1;
    if (n >= 0)
        text[n] = '\0';
    json_text(o, "stdout", n >= 0 ? text : NULL);
}

/* Of any command: when the guest stood only the observers can tell. */
static struct report_observed observe_report(const struct observe_call *c)
{
    return (struct report_observed){c->seen, c->seen_n, c->end.began_ns, {-1, -1}};
}

static void observe_json(const struct observe_call *c, const struct err *e)
{
    char line[OBSERVE_LINE_MAX];
    struct json *o = json_new();
    observe_command_line(c->argv, line);
    json_text(o, "result", c->result);
    struct json *command = json_node(o, "command");
    json_text(command, "line", line);
    if (c->has_run) {
        int64_t began_epoch_us = c->began_epoch_ns /
                                 NS_PER_US; /* a double does not hold so many ns */
        json_number(command, "began_epoch_ms", (double)began_epoch_us / 1e3);
        json_u64(command, "exit_code", (uint64_t)c->end.exit_code);
        json_ms(command, "wall_ms", c->end.ended_ns - c->end.began_ns);
        observe_said_json(command, c->said);
    }
    const struct report_observed observed = observe_report(c);
    report_observed_json(o, &observed);
    json_error(o, e);
    json_print(o, stdout);
}

static void observe_text(const struct observe_call *c)
{
    if (!c->has_run)
        return;
    printf("%s took %.0f ms and ended with exit code %d.\n", c->argv[0],
           (double)(c->end.ended_ns - c->end.began_ns) / 1e6, c->end.exit_code);
    const struct report_observed observed = observe_report(c);
    report_observed_text(&observed, stdout);
}

static int observe_finish(struct observe_call *c, int rc, const struct err *e)
{
    bool failed = c->has_run && c->end.exit_code != 0;
    if (rc == 0)
        c->result = failed ? "failed" : "done";
    else
        c->result = e->class == ERR_CANCELLED ? "cancelled" : c->has_run ? "failed" : "refused";
    if (c->json)
        observe_json(c, e);
    else
        observe_text(c);
    if (rc < 0)
        return command_fail(e);
    return failed ? EXIT_FAILED : EXIT_DONE;
}

static int observe_main(const struct command *self, int argc, char **argv)
{
    struct observe_call c = {.said = -1};
    struct err e = {0};
    int code;
    int first = command_parse(self, &c, argc, argv, 1, OBSERVE_WORDS_MAX, &code);
    if (first < 0)
        return code;
    command_log_level(c.verbose ? LOG_DEBUG : LOG_WARN);
    c.argv = (const char *const *)(argv + first);
    int rc = observe_do(&c, &e);
    code = observe_finish(&c, rc, &e);
    if (c.said >= 0)
        close(c.said);
    return code;
}

const struct command command_bench_observe = {
    .name = "bench observe",
    .operands = "-- COMMAND [ARGUMENT]...",
    .summary = "Run any command, and time the guest's silence meanwhile",
    .details =
        "Observes for a second, runs COMMAND, and observes for another second. What COMMAND\n"
        "prints is passed on; with --json it is a part of the object. Exit code 1: it failed.\n",
    .options = options,
    .run = observe_main,
};
