/* SPDX-License-Identifier: Apache-2.0 */
/* godwit migrate SRC DST: one live migration between two QEMUs. */
#include <stddef.h>
#include <string.h>
#include <sys/un.h>

#include "bench/observer.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/migrate.h"
#include "core/units.h"
#include "qmp/endpoint.h"
#include "qmp/vm_qmp.h"
#include "tools/command.h"
#include "tools/report_migrate.h"

struct migrate_options {
    const char *via;
    uint64_t max_bandwidth_bytes_per_s;
    int64_t downtime_limit_ns;
    uint64_t multifd;
    int compression;
    bool postcopy;
    int64_t timeout_ns;
    bool quit_source;
    bool unsafe;
    struct option_list observe;
    bool json;
    const char *progress_fd;
    bool verbose;
};

#define AT(field) offsetof(struct migrate_options, field)

static const char *const compressions[] = {"none", "zlib", "zstd", NULL};

static const struct option_def options[] = {
    {"via", 0, OPTION_TEXT, "URI",
     "where the migration stream goes: tcp:HOST:PORT or unix:/path, as the destination listens",
     AT(via), 0, 0, NULL},
    {"max-bandwidth", 0, OPTION_RATE, "RATE",
     "send at most this (100M, 1gbit); without it there is no limit", AT(max_bandwidth_bytes_per_s),
     0, 0, NULL},
    {"downtime-limit", 0, OPTION_DURATION, "TIME",
     "switch over when what is left can be sent in this time (20ms); without it, what QEMU is set "
     "to, usually 300ms", AT(downtime_limit_ns), 0, 0, NULL},
    {"multifd", 0, OPTION_COUNT, "N", "send RAM over N connections in parallel", AT(multifd), 1,
     255, NULL},
    {"compression", 0, OPTION_CHOICE, "none|zlib|zstd", "compress RAM on the way; needs --multifd",
     AT(compression), 0, 0, compressions},
    {"postcopy", 0, OPTION_FLAG, NULL,
     "after one pass over RAM let the guest run on the destination and send the rest on demand: it "
     "always ends, and cannot be cancelled after that", AT(postcopy), 0, 0, NULL},
    {"timeout", 0, OPTION_DURATION, "TIME",
     "give up when the switchover has not begun by then; the guest stays on the source",
     AT(timeout_ns), 0, 0, NULL},
    {"quit-source", 0, OPTION_FLAG, NULL,
     "end the source's QEMU when the guest is known to run on the destination", AT(quit_source), 0,
     0, NULL},
    {"unsafe", 0, OPTION_FLAG, NULL,
     "go on also where the guest is known to be put at risk", AT(unsafe), 0, 0, NULL},
    {"observe", 0, OPTION_LIST, "WHAT",
     "time the guest's silence from outside: ping:ADDRESS, serial:PATH (a log, pty or socket; give "
     "it for both sides)", AT(observe), 0, 0, NULL},
    {"json", 0, OPTION_FLAG, NULL, "print the result as one JSON object", AT(json), 0, 0, NULL},
    {"progress", 0, OPTION_TEXT, "FD", "write progress to this descriptor, one JSON object a line",
     AT(progress_fd), 0, 0, NULL},
    {"verbose", 'v', OPTION_FLAG, NULL, "say each step and phase, and show the QMP traffic",
     AT(verbose), 0, 0, NULL},
    OPTION_END,
};

struct migrate_run {
    struct migrate_options opt;
    struct qmp_endpoint source_ep, destination_ep;
    struct loop *loop;
    struct vm *source, *destination;
    struct observer *observer;
    struct observer_result seen[OPTION_LIST_MAX];
    size_t seen_n;
    struct progress progress;
    struct migrate_report report;
};

/* QEMU's own bound, qapi/migration.json. */
#define MIGRATE_DOWNTIME_LIMIT_MAX_NS (2000 * NS_PER_S)
#define MIGRATE_NOT_GIVEN (-1)

static bool migrate_via_is_good(const char *via)
{
    struct err ignored = {0};
    uint64_t port;
    if (strncmp(via, "unix:/", 6) == 0)
        return strlen(via + 5) < sizeof((struct sockaddr_un){0}.sun_path);
    const char *colon = strrchr(via, ':');
    return strncmp(via, "tcp:", 4) == 0 && colon > via + 4 &&
           units_parse_count(colon + 1, 1, 65535, &port, &ignored) == 0;
}

/* What the command line alone can tell. */
static int migrate_check_usage(struct migrate_run *r, char **operands, struct err *e)
{
    const struct migrate_options *o = &r->opt;
    if (qmp_endpoint_parse(operands[0], &r->source_ep, e) < 0 ||
        qmp_endpoint_parse(operands[1], &r->destination_ep, e) < 0)
        return -1;
    if (qmp_endpoint_same(&r->source_ep, &r->destination_ep))
        return err_set(e, ERR_USAGE, 0, "source and destination are the same QEMU: %s",
                       r->source_ep.text);
    if (o->via == NULL) {
        err_set(e, ERR_USAGE, 0, "--via is missing");
        return err_hint(e, "--via tcp:HOST:PORT (the destination's address) or unix:/path");
    }
    if (!migrate_via_is_good(o->via))
        return err_set(e, ERR_USAGE, 0, "--via: '%s' is not tcp:HOST:PORT or unix:/path", o->via);
    if (o->downtime_limit_ns == 0 || o->downtime_limit_ns > MIGRATE_DOWNTIME_LIMIT_MAX_NS)
        return err_set(e, ERR_USAGE, 0, "--downtime-limit: must be above 0 and at most 2000s");
    if (o->timeout_ns == 0)
        return err_set(e, ERR_USAGE, 0, "--timeout: must be above 0; without it there is none");
    if (o->max_bandwidth_bytes_per_s == 0)
        return err_set(e, ERR_USAGE, 0, "--max-bandwidth: must be above 0; without it there is no "
                       "limit");
    if (o->compression != VM_COMPRESSION_NONE && o->multifd == 0)
        return err_set(e, ERR_USAGE, 0, "--compression needs --multifd");
    if (o->multifd > 0 && o->postcopy)
        return err_set(e, ERR_USAGE, 0, "--multifd and --postcopy cannot be used together");
    return 0;
}

static int migrate_open(struct migrate_run *r, struct err *e)
{
    const struct migrate_options *o = &r->opt;
    r->loop = loop_new(e);
    if (r->loop == NULL || loop_catch_signals(r->loop, e) < 0)
        return -1;
    r->source = vm_qmp_open(r->loop, &r->source_ep, "source", e);
    if (r->source == NULL)
        return -1;
    r->destination = vm_qmp_open(r->loop, &r->destination_ep, "destination", e);
    if (r->destination == NULL)
        return -1;
    if (o->observe.n > 0) {
        r->observer = observer_open(o->observe.at, o->observe.n, e);
        if (r->observer == NULL)
            return err_wrap(e, "--observe");
        loop_sleep(r->loop, NS_PER_S); /* how it is while nothing happens */
        observer_mark(r->observer);
    }
    return 0;
}

static int migrate_do(struct migrate_run *r, struct err *e)
{
    const struct migrate_options *o = &r->opt;
    const struct migrate_plan plan = {
        .source = r->source,
        .destination = r->destination,
        .settings = {
            .max_bandwidth_bytes_per_s =
                o->max_bandwidth_bytes_per_s == UINT64_MAX ? 0 : o->max_bandwidth_bytes_per_s,
            .downtime_limit_ns = o->downtime_limit_ns > 0 ? o->downtime_limit_ns : 0,
            .multifd_channels = (unsigned)o->multifd,
            .compression = (enum vm_compression)o->compression,
            .postcopy = o->postcopy,
            .unsafe = o->unsafe,
        },
        .via = o->via,
        .timeout_ns = o->timeout_ns > 0 ? o->timeout_ns : 0,
        .quit_source = o->quit_source,
        .progress = report_migrate_progress,
        .progress_arg = &r->progress,
    };
    int rc = migrate_run(&plan, &r->report, e);
    if (r->observer != NULL) {
        loop_sleep(r->loop, NS_PER_S); /* the first signs of life, and some more */
        r->seen_n = observer_stop(r->observer, r->seen, OPTION_LIST_MAX);
        r->observer = NULL;
    }
    return rc;
}

static void migrate_close(struct migrate_run *r)
{
    if (r->observer != NULL)
        observer_stop(r->observer, r->seen, OPTION_LIST_MAX);
    if (r->destination != NULL)
        r->destination->ops->close(r->destination);
    if (r->source != NULL)
        r->source->ops->close(r->source);
    loop_free(r->loop);
}

static const char *migrate_result(int rc, const struct migrate_report *r, const struct err *e)
{
    if (rc == 0)
        return "done";
    if (e->class == ERR_CANCELLED)
        return "cancelled";
    if (e->class == ERR_UNCERTAIN)
        return "uncertain";
    return r->touched ? "failed" : "refused";
}

static int migrate_finish(struct migrate_run *r, int rc, const struct err *e)
{
    const struct report_migrate told = {
        .result = migrate_result(rc, &r->report, e),
        .route = r->source != NULL ? r->source->ops->route : "qmp",
        .report = &r->report,
        .observed = r->seen,
        .observed_n = r->seen_n,
    };
    progress_clear(&r->progress);
    if (r->opt.json)
        report_migrate_json(&told, e, stdout);
    else if (rc == 0)
        report_migrate_text(&told, stdout);
    if (rc == 0)
        return EXIT_DONE;
    int code = command_fail(e);
    if (!r->report.touched && code == EXIT_FAILED)
        code = EXIT_REFUSED;
    else if (r->report.touched && code == EXIT_REFUSED)
        code = EXIT_FAILED;
    if (code == EXIT_FAILED || code == EXIT_CANCELLED)
        fputs("godwit: the guest is on the source, as before\n", stderr);
    return code;
}

static int migrate_main(const struct command *self, int argc, char **argv)
{
    struct migrate_run r = {
        .progress = {.fd = -1},
        .opt = {
            .max_bandwidth_bytes_per_s = UINT64_MAX,
            .downtime_limit_ns = MIGRATE_NOT_GIVEN,
            .timeout_ns = MIGRATE_NOT_GIVEN,
        },
    };
    struct err e = {0};
    int code;
    int first = command_parse(self, &r.opt, argc, argv, 2, 2, &code);
    if (first < 0)
        return code;
    command_log_level(r.opt.verbose ? LOG_DEBUG : LOG_WARN);

    int rc = -1;
    if (migrate_check_usage(&r, argv + first, &e) == 0 &&
        progress_init(&r.progress, r.opt.progress_fd, r.opt.verbose, &e) == 0 &&
        migrate_open(&r, &e) == 0)
        rc = migrate_do(&r, &e);
    code = migrate_finish(&r, rc, &e);
    migrate_close(&r);
    return code;
}

const struct command command_migrate = {
    .name = "migrate",
    .operands = "SRC DST",
    .summary = "Move a running guest from one QEMU to another",
    .details =
        "SRC and DST are qmp+unix:/path, qmp+tcp:HOST:PORT or qmp+ssh://[user@]HOST/path.\n"
        "DST is a QEMU with the same machine, started with -incoming defer. The source's\n"
        "QEMU is left stopped. Ctrl-C cancels, and says where the guest is.\n",
    .options = options,
    .run = migrate_main,
};
