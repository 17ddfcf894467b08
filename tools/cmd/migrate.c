/* SPDX-License-Identifier: Apache-2.0 */
/* godwit migrate SRC DST: one live migration, of a libvirt domain or between two bare QEMUs. */
#include <stddef.h>
#include <string.h>
#include <sys/un.h>

#include "bench/observe/observer.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/migrate/migrate.h"
#include "core/units.h"
#include "qmp/endpoint.h"
#include "qmp/virt/address.h"
#include "qmp/virt/route.h"
#include "qmp/vm_qmp.h"
#include "tools/cmd/command.h"
#include "tools/cmd/report_migrate.h"

struct migrate_options {
    const char *via;
    const char *connect;
    int route;
    bool live;
    bool persistent, undefine_source;
    const char *dname;
    const char *migrateuri;
    uint64_t max_bandwidth_bytes_per_s;
    int64_t downtime_limit_ns;
    uint64_t multifd;
    int compression;
    bool postcopy, pause;
    uint64_t passes;
    struct option_list set;
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

/* In the order of enum virt_route_kind. */
static const char *const routes[] = {"auto", "direct", "native", NULL};

static const struct option_def options[] = {
    {"connect", 'c', OPTION_TEXT, "URI", "of a domain: the source's libvirt (qemu:///system)",
     AT(connect), 0, 0, NULL},
    {"route", 0, OPTION_CHOICE, "auto|direct|native",
     "of a domain: direct, from QEMU to QEMU, or native, by libvirt; auto takes the direct one where "
     "all that the domain has was proven on it, and says why",
     AT(route), 0, 0, routes},
    {"live", 0, OPTION_FLAG, NULL, "of a domain: as it is anyhow", AT(live), 0, 0, NULL},
    {"persistent", 0, OPTION_FLAG, NULL, "of a domain: define it on the destination",
     AT(persistent), 0, 0, NULL},
    {"undefine-source", 0, OPTION_FLAG, NULL,
     "of a domain: forget its definition on the source, once it runs on the destination",
     AT(undefine_source), 0, 0, NULL},
    {"dname", 0, OPTION_TEXT, "NAME", "of a domain: its name on the destination", AT(dname), 0, 0,
     NULL},
    {"migrateuri", 0, OPTION_TEXT, "URI",
     "of a domain: tcp://HOST[:PORT], the destination as the source's QEMU reaches it; without it, "
     "what the destination's qemu.conf or its host's name says, and a free port of qemu.conf's range",
     AT(migrateuri), 0, 0, NULL},
    {"via", 0, OPTION_TEXT, "URI",
     "between bare QEMUs: where the stream goes, tcp:HOST:PORT or unix:/path, as the destination "
     "listens",
     AT(via), 0, 0, NULL},
    {"max-bandwidth", 0, OPTION_RATE, "RATE",
     "send at most this (100M, 1gbit); without it there is no limit", AT(max_bandwidth_bytes_per_s),
     0, 0, NULL},
    {"downtime-limit", 0, OPTION_DURATION, "TIME",
     "switch over when what is left can be sent in this time (20ms); without it, what QEMU is set "
     "to, usually 300ms",
     AT(downtime_limit_ns), 0, 0, NULL},
    {"multifd", 0, OPTION_COUNT, "N", "send RAM over N connections in parallel", AT(multifd), 1,
     255, NULL},
    {"compression", 0, OPTION_CHOICE, "none|zlib|zstd", "compress RAM on the way; needs --multifd",
     AT(compression), 0, 0, compressions},
    {"postcopy", 0, OPTION_FLAG, NULL,
     "after one pass over RAM let the guest run on the destination and send the rest on demand: it "
     "always ends, and cannot be cancelled after that",
     AT(postcopy), 0, 0, NULL},
    {"pause", 0, OPTION_FLAG, NULL,
     "after one pass over RAM stop the guest, and send the rest while it stands: it always ends, and "
     "the pause is as long as that takes",
     AT(pause), 0, 0, NULL},
    {"passes", 0, OPTION_COUNT, "N", "with --postcopy or --pause: after so many passes, not one",
     AT(passes), 1, 1000000, NULL},
    {"set", 0, OPTION_LIST, "NAME=VALUE",
     "set a migration capability or parameter by QEMU's own name and in its own unit, for this "
     "migration: auto-converge=on, cpu-throttle-increment=20, max-postcopy-bandwidth=50M; may be "
     "given several times; the native route sets what libvirt lets it",
     AT(set), 0, 0, NULL},
    {"timeout", 0, OPTION_DURATION, "TIME",
     "give up when the switchover has not begun by then; the guest stays on the source",
     AT(timeout_ns), 0, 0, NULL},
    {"quit-source", 0, OPTION_FLAG, NULL,
     "between bare QEMUs: end the source's when the guest is known to run on the destination",
     AT(quit_source), 0, 0, NULL},
    {"unsafe", 0, OPTION_FLAG, NULL, "go on also where the guest is known to be put at risk",
     AT(unsafe), 0, 0, NULL},
    {"observe", 0, OPTION_LIST, "WHAT",
     "time the guest's silence from outside: ping:ADDRESS, serial:PATH (a log, pty or socket; give "
     "it for both sides)",
     AT(observe), 0, 0, NULL},
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
    struct virt_route_options domain; /* .domain is NULL: bare QEMUs */
    char stream_host[VIRT_ADDRESS_HOST];
    struct vm_setting set[OPTION_LIST_MAX];
    char set_names[OPTION_LIST_MAX][64];
    struct vm_settings settings;
    struct loop *loop;
    struct virt_route *route;
    struct vm *source, *destination;
    struct observer *observer;
    struct observer_result seen[OPTION_LIST_MAX];
    size_t seen_n;
    struct progress progress;
    struct migrate_report report;
    struct err
        definition; /* the guest has moved; set: what was to become of its definition has not */
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

static int migrate_take_uri(struct migrate_run *r, const char *uri, struct err *e)
{
    r->domain.stream_host = r->stream_host;
    return virt_address_parse(uri, r->stream_host, &r->domain.stream_port, e);
}

static int migrate_check_domain(struct migrate_run *r, char **operands, struct err *e)
{
    const struct migrate_options *o = &r->opt;
    if (o->via != NULL || o->quit_source) {
        err_set(e, ERR_USAGE, 0, "--%s is for bare QEMUs, and '%s' is a domain",
                o->via != NULL ? "via" : "quit-source", operands[0]);
        return err_hint(e, o->via != NULL ? "--migrateuri tcp://HOST:PORT is what a domain takes"
                                          : "a domain's source is always ended");
    }
    if (o->undefine_source && !o->persistent) {
        err_set(e, ERR_USAGE, 0,
                "--undefine-source without --persistent: the domain would be "
                "defined nowhere");
        return err_hint(e, "add --persistent; or undefine it yourself afterwards");
    }
    r->domain = (struct virt_route_options){
        .connect = o->connect != NULL ? o->connect : "qemu:///system",
        .destination_uri = operands[1],
        .domain = operands[0],
        .kind = (enum virt_route_kind)o->route,
        .dname = o->dname,
        .persistent = o->persistent,
        .undefine_source = o->undefine_source,
        .unsafe = o->unsafe,
        .guard = "/proc/self/exe",
        .settings = &r->settings,
    };
    return o->migrateuri != NULL ? migrate_take_uri(r, o->migrateuri, e) : 0;
}

static int migrate_check_bare(struct migrate_run *r, char **operands, struct err *e)
{
    const struct migrate_options *o = &r->opt;
    const char *alien = o->connect != NULL      ? "connect"
                        : o->route != 0         ? "route"
                        : o->live               ? "live"
                        : o->persistent         ? "persistent"
                        : o->undefine_source    ? "undefine-source"
                        : o->dname != NULL      ? "dname"
                        : o->migrateuri != NULL ? "migrateuri"
                                                : NULL;
    if (alien != NULL)
        return err_set(e, ERR_USAGE, 0, "--%s is for libvirt domains, and '%s' is a bare QEMU",
                       alien, operands[0]);
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
    return 0;
}

static bool migrate_is_endpoint(const char *operand)
{
    return strncmp(operand, "qmp+", 4) == 0;
}

/* Each "NAME=VALUE". Whether there is such a name, and such a value, is QEMU's to say. */
static int migrate_parse_set(struct migrate_run *r, struct err *e)
{
    const struct option_list *given = &r->opt.set;
    for (size_t i = 0; i < given->n; i++) {
        const char *text = given->at[i], *equals = strchr(text, '=');
        size_t len = equals != NULL ? (size_t)(equals - text) : 0;
        if (len == 0 || len >= sizeof r->set_names[i] || equals[1] == '\0')
            return err_set(e, ERR_USAGE, 0, "--set: '%s' is not NAME=VALUE", text);
        snprintf(r->set_names[i], sizeof r->set_names[i], "%.*s", (int)len, text);
        for (size_t before = 0; before < i; before++)
            if (strcmp(r->set_names[before], r->set_names[i]) == 0)
                return err_set(e, ERR_USAGE, 0, "--set: '%s' is given twice", r->set_names[i]);
        r->set[i] = (struct vm_setting){.name = r->set_names[i], .value = equals + 1};
    }
    return 0;
}

static void migrate_take_settings(struct migrate_run *r)
{
    const struct migrate_options *o = &r->opt;
    r->settings = (struct vm_settings){
        .max_bandwidth_bytes_per_s =
            o->max_bandwidth_bytes_per_s == UINT64_MAX ? 0 : o->max_bandwidth_bytes_per_s,
        .downtime_limit_ns = o->downtime_limit_ns > 0 ? o->downtime_limit_ns : 0,
        .multifd_channels = (unsigned)o->multifd,
        .compression = (enum vm_compression)o->compression,
        .postcopy = o->postcopy,
        .pause = o->pause,
        .passes = (unsigned)o->passes,
        .set = r->set,
        .set_n = o->set.n,
        .unsafe = o->unsafe,
    };
}

/* What the command line alone can tell. */
static int migrate_check_usage(struct migrate_run *r, char **operands, struct err *e)
{
    const struct migrate_options *o = &r->opt;
    bool bare = migrate_is_endpoint(operands[0]);
    if (bare != migrate_is_endpoint(operands[1])) {
        err_set(e, ERR_USAGE, 0, "'%s' and '%s': a domain goes to a libvirt, a QEMU to a QEMU",
                operands[0], operands[1]);
        return err_hint(e,
                        "write DOMAIN qemu+ssh://HOST/system, or two endpoints qmp+unix:/path …");
    }
    if ((bare ? migrate_check_bare : migrate_check_domain)(r, operands, e) < 0)
        return -1;
    if (o->downtime_limit_ns == 0 || o->downtime_limit_ns > MIGRATE_DOWNTIME_LIMIT_MAX_NS)
        return err_set(e, ERR_USAGE, 0, "--downtime-limit: must be above 0 and at most 2000s");
    if (o->timeout_ns == 0)
        return err_set(e, ERR_USAGE, 0, "--timeout: must be above 0; without it there is none");
    if (o->max_bandwidth_bytes_per_s == 0)
        return err_set(e, ERR_USAGE, 0,
                       "--max-bandwidth: must be above 0; without it there is no "
                       "limit");
    if (o->compression != VM_COMPRESSION_NONE && o->multifd == 0)
        return err_set(e, ERR_USAGE, 0, "--compression needs --multifd");
    if (o->multifd > 0 && o->postcopy)
        return err_set(e, ERR_USAGE, 0, "--multifd and --postcopy cannot be used together");
    if (o->pause && o->postcopy)
        return err_set(e, ERR_USAGE, 0,
                       "--pause and --postcopy cannot be used together: each is how "
                       "precopy ends");
    if (o->passes > 0 && !o->pause && !o->postcopy)
        return err_set(e, ERR_USAGE, 0, "--passes needs --postcopy or --pause");
    if (migrate_parse_set(r, e) < 0)
        return -1;
    migrate_take_settings(r);
    return 0;
}

static int migrate_open_sides(struct migrate_run *r, struct err *e)
{
    if (r->domain.domain != NULL) {
        r->route = virt_route_open(r->loop, &r->domain, e);
        if (r->route == NULL)
            return -1;
        r->source = r->route->source;
        r->destination = r->route->destination;
        return 0;
    }
    if (!r->opt.unsafe &&
        virt_address_check_bare(&r->source_ep, &r->destination_ep, r->opt.via, e) < 0)
        return -1;
    r->source = vm_qmp_open(r->loop, &r->source_ep, "source", e);
    if (r->source == NULL)
        return -1;
    r->destination = vm_qmp_open(r->loop, &r->destination_ep, "destination", e);
    return r->destination != NULL ? 0 : -1;
}

static int migrate_open(struct migrate_run *r, struct err *e)
{
    const struct migrate_options *o = &r->opt;
    r->loop = loop_new(e);
    if (r->loop == NULL || loop_catch_signals(r->loop, e) < 0 || migrate_open_sides(r, e) < 0)
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

static int migrate_run_once(struct migrate_run *r, struct err *e)
{
    const struct migrate_options *o = &r->opt;
    bool domain = r->route != NULL;
    const struct migrate_plan plan = {
        .source = r->source,
        .destination = r->destination,
        .settings = r->settings,
        .via = o->via,
        .timeout_ns = o->timeout_ns > 0 ? o->timeout_ns : 0,
        .quit_source = o->quit_source || domain,
        .quit_destination = domain,
        .progress = report_migrate_progress,
        .progress_arg = &r->progress,
    };
    return migrate_run(&plan, &r->report, e);
}

/* True if it is worth another try: the direct route was refused, with nothing done, and the native
 * one is to be taken. */
static bool migrate_fall_back(struct migrate_run *r, struct err *e)
{
    struct err unable = {0};
    if (r->route == NULL || r->report.guest != MIGRATE_GUEST_SOURCE || !r->report.touched ||
        !virt_route_fall_back(r->route, e, &unable))
        return false;
    log_warn("%s; taking the native route", e->msg);
    err_clear(e);
    r->source = r->route->source;
    r->destination = r->route->destination;
    return true;
}

static int migrate_do(struct migrate_run *r, struct err *e)
{
    int rc = migrate_run_once(r, e);
    if (rc < 0 && migrate_fall_back(r, e))
        rc = migrate_run_once(r, e);
    if (rc == 0 && r->route != NULL)
        virt_route_finish(r->route, &r->definition);
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
    if (r->domain.domain != NULL) {
        virt_route_close(r->route);
    } else {
        if (r->destination != NULL)
            r->destination->ops->close(r->destination);
        if (r->source != NULL)
            r->source->ops->close(r->source);
    }
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
        .result = rc == 0 && r->definition.class != ERR_NONE ? "incomplete"
                                                             : migrate_result(rc, &r->report, e),
        .route = r->route != NULL           ? virt_route_name(r->route->kind)
                 : r->domain.domain == NULL ? "qmp"
                                            : NULL,
        .route_reason = r->route != NULL ? r->route->reason : NULL,
        .settings = &r->settings,
        .report = &r->report,
        .observed = r->seen,
        .observed_n = r->seen_n,
    };
    progress_clear(&r->progress);
    if (r->opt.json)
        report_migrate_json(&told, rc == 0 ? &r->definition : e, stdout);
    else if (rc == 0)
        report_migrate_text(&told, stdout);
    if (rc == 0 && r->definition.class == ERR_NONE)
        return EXIT_DONE;
    if (rc == 0) {
        command_fail(&r->definition);
        return EXIT_UNCERTAIN; /* where the guest is is known, and not all is as it was asked for */
    }
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
        .opt =
            {
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
    .summary = "Move a running guest from one host, or QEMU, to another",
    .details =
        "SRC is a libvirt domain, by name or UUID, and DST the libvirt that it is to go to:\n"
        "qemu+ssh://[user@]HOST/system. Or both are QEMUs: qmp+unix:/path, qmp+tcp:HOST:PORT\n"
        "or qmp+ssh://[user@]HOST/path; DST then has the same machine, was started with\n"
        "-incoming defer, and the source's QEMU is left stopped. Ctrl-C cancels, and says\n"
        "where the guest is.\n",
    .options = options,
    .run = migrate_main,
};
