/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cmd/migrate_request.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/key_lines.h"
#include "core/units.h"
#include "tools/cmd/profile.h"

#define AT(field) offsetof(struct migrate_options, field)

static const char *const compressions[] = {"none", "zlib", "zstd", NULL};

static const char *const timeout_actions[] = {"give-up", "pause", "postcopy", NULL};

/* In the order of enum virt_route_kind. */
static const char *const routes[] = {"auto", "direct", "native", NULL};

const struct option_def migrate_request_options[] = {
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
    {"profile", 0, OPTION_TEXT, "FILE|NAME",
     "take what is not given here from a profile: a file (with its directory), or a name in "
     "$XDG_CONFIG_HOME/godwit/profiles.d or /etc/godwit/profiles.d",
     AT(profile), 0, 0, NULL},
    {"timeout", 0, OPTION_DURATION, "TIME",
     "give up when the switchover has not begun by then; the guest stays on the source",
     AT(timeout_ns), 0, 0, NULL},
    {"timeout-action", 0, OPTION_CHOICE, "give-up|pause|postcopy",
     "what --timeout does instead: stop the guest and send the rest, or let it run on the destination "
     "and send the rest on demand",
     AT(timeout_action), 0, 0, timeout_actions},
    {"promises", 0, OPTION_TABLE, NULL, NULL, AT(promise), 0, 0, promise_option_table},
    {"explain", 0, OPTION_FLAG, NULL,
     "say each decision when it is taken, with the numbers behind it", AT(explain), 0, 0, NULL},
    {"trace", 0, OPTION_TEXT, "FILE",
     "write there what the controller was told and what it did, for 'godwit bench replay'",
     AT(trace), 0, 0, NULL},
    {"policy", 0, OPTION_CHOICE, "godwit|doubling|ramp",
     "for comparison: what steers the downtime limit; doubling (100 ms, twice as much after six looks at which "
     "more was left), as Proxmox VE does, or ramp (150 ms, 150 more every 2 s, up to 1050 ms)",
     AT(policy), 0, 0, policy_names},
    {"quit-source", 0, OPTION_FLAG, NULL,
     "between bare QEMUs: end the source's when the guest is known to run on the destination",
     AT(quit_source), 0, 0, NULL},
    {"unsafe", 0, OPTION_FLAG, NULL, "go on also where the guest is known to be put at risk",
     AT(unsafe), 0, 0, NULL},
    {"observe", 0, OPTION_LIST, "WHAT",
     "time the guest's silence from outside: ping:ADDRESS, serial:PATH (a log, pty or socket; give "
     "it for both sides), announce:IFNAME[@MAC] (whether the network is told of the move)",
     AT(observe), 0, 0, NULL},
    {"json", 0, OPTION_FLAG, NULL, "print the result as one JSON object", AT(json), 0, 0, NULL},
    {"progress", 0, OPTION_TEXT, "FD", "write progress to this descriptor, one JSON object a line",
     AT(progress_fd), 0, 0, NULL},
    {"verbose", 'v', OPTION_FLAG, NULL, "say each step and phase, and show the QMP traffic",
     AT(verbose), 0, 0, NULL},
    {.name = "given", .kind = OPTION_GIVEN, .offset = AT(given)},
    OPTION_END,
};

/* QEMU's own bound, qapi/migration.json. */
#define MIGRATE_DOWNTIME_LIMIT_MAX_NS (2000 * NS_PER_S)
#define MIGRATE_NOT_GIVEN (-1)

void migrate_request_init(struct migrate_request *r)
{
    *r = (struct migrate_request){
        .opt =
            {
                .max_bandwidth_bytes_per_s = UINT64_MAX,
                .downtime_limit_ns = MIGRATE_NOT_GIVEN,
                .timeout_ns = MIGRATE_NOT_GIVEN,
                .timeout_action = MIGRATE_NOT_GIVEN,
            },
    };
    promise_options_init(&r->opt.promise);
}

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

static int migrate_take_uri(struct migrate_request *r, const char *uri, struct err *e)
{
    r->domain.stream_host = r->stream_host;
    return virt_address_parse(uri, r->stream_host, &r->domain.stream_port, e);
}

static int migrate_check_domain(struct migrate_request *r, char **operands, struct err *e)
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

static int migrate_check_bare(struct migrate_request *r, char **operands, struct err *e)
{
    const struct migrate_options *o = &r->opt;
    const char *domains_only = o->connect != NULL      ? "connect"
                               : o->route != 0         ? "route"
                               : o->live               ? "live"
                               : o->persistent         ? "persistent"
                               : o->undefine_source    ? "undefine-source"
                               : o->dname != NULL      ? "dname"
                               : o->migrateuri != NULL ? "migrateuri"
                                                       : NULL;
    if (domains_only != NULL)
        return err_set(e, ERR_USAGE, 0, "--%s is for libvirt domains, and '%s' is a bare QEMU",
                       domains_only, operands[0]);
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
static int migrate_parse_set(struct migrate_request *r, struct err *e)
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

static bool migrate_names(const struct migrate_request *r, const char *setting)
{
    for (size_t i = 0; i < r->opt.set.n; i++)
        if (strcmp(r->set_names[i], setting) == 0)
            return true;
    return false;
}

/* Two ways of saying the same, of which one would have to lose. */
static int migrate_check_promise_alone(const struct migrate_request *r, struct err *e)
{
    const struct migrate_options *o = &r->opt;
    const struct promise *p = &r->control.promise;
    bool downtime = p->max_downtime_ns > 0, time = p->max_time_ns > 0;
    const char *other = o->pause                                         ? "pause"
                        : o->postcopy                                    ? "postcopy"
                        : downtime && o->downtime_limit_ns > 0           ? "downtime-limit"
                        : downtime && migrate_names(r, "downtime-limit") ? "set downtime-limit"
                        : time && o->timeout_ns > 0                      ? "timeout"
                                                                         : NULL;
    const char *instead =
        o->pause      ? "--on-miss pause stops the guest where the promise cannot be kept"
        : o->postcopy ? "--allow postcopy, or --on-miss postcopy, is what goes with a promise"
        : other != NULL && strcmp(other, "timeout") == 0
            ? "--on-miss says what is to be done when --max-time ends"
            : "--max-downtime sets the limit itself, below what is promised";
    if (other == NULL || !(downtime || time))
        return 0;
    err_set(e, ERR_USAGE, 0, "--%s and --%s cannot be used together",
            downtime ? "max-downtime" : "max-time", other);
    return err_hint(e, "%s", instead);
}

static int migrate_check_throttle(const struct migrate_request *r, struct err *e)
{
    static const char *const ours[] = {"auto-converge", "cpu-throttle-initial",
                                       "cpu-throttle-increment", "max-cpu-throttle", "dirty-limit"};
    for (size_t i = 0;
         (r->control.promise.allow & PROMISE_THROTTLE) && i < sizeof ours / sizeof *ours; i++)
        if (migrate_names(r, ours[i]))
            return err_set(e, ERR_USAGE, 0, "--allow throttle and --set %s cannot be used together",
                           ours[i]);
    return 0;
}

static int migrate_check_miss(const struct migrate_request *r, struct err *e)
{
    const struct migrate_options *o = &r->opt;
    const struct promise *p = &r->control.promise;
    if (o->timeout_action >= 0 && o->timeout_ns <= 0)
        return err_set(e, ERR_USAGE, 0, "--timeout-action needs --timeout");
    if (p->on_miss == PROMISE_STRETCH && r->control.keep_limit)
        return err_set(e, ERR_USAGE, 0,
                       "--on-miss stretch and --downtime-limit cannot be used together");
    return 0;
}

static int migrate_check_policy(const struct migrate_request *r, struct err *e)
{
    const struct control_plan *c = &r->control;
    const char *other = c->keep_limit                  ? "a downtime limit that is named"
                        : promise_is_made(&c->promise) ? "a promise"
                        : c->promise.allow != 0        ? "--allow"
                        : c->timeout_ns > 0            ? "--timeout-action"
                                                       : NULL;
    if (c->policy == POLICY_OURS || other == NULL)
        return 0;
    return err_set(e, ERR_USAGE, 0, "--policy %s and %s cannot be used together",
                   policy_names[c->policy], other);
}

/* Whether postcopy may become necessary, and so has to be possible from the begin on. */
static bool migrate_may_need_postcopy(const struct migrate_request *r)
{
    const struct control_plan *c = &r->control;
    return (c->promise.allow & PROMISE_POSTCOPY) || c->promise.on_miss == PROMISE_TO_POSTCOPY ||
           (c->timeout_ns > 0 && c->timeout_miss == PROMISE_TO_POSTCOPY);
}

static void migrate_prepare_throttle(struct migrate_request *r)
{
    static const struct vm_setting settings[MIGRATE_THROTTLE_SETTINGS] = {
        {"auto-converge", "on"},
        {"cpu-throttle-initial", "1"},
        {"cpu-throttle-increment", "1"},
        {"max-cpu-throttle", "1"},
    };
    memcpy(&r->set[r->settings.set_n], settings, sizeof settings);
    r->settings.set_n += MIGRATE_THROTTLE_SETTINGS;
}

/* A knob that is named is left alone. */
static int migrate_take_promise(struct migrate_request *r, struct err *e)
{
    static const enum promise_on_miss actions[] = {PROMISE_ABORT, PROMISE_TO_PAUSE,
                                                   PROMISE_TO_POSTCOPY};
    const struct migrate_options *o = &r->opt;
    struct control_plan *c = &r->control;
    *c = (struct control_plan){
        .keep_limit = o->downtime_limit_ns > 0 || migrate_names(r, "downtime-limit"),
        .timeout_ns = o->timeout_action > 0 ? o->timeout_ns : 0,
        .timeout_miss = o->timeout_action > 0 ? actions[o->timeout_action] : PROMISE_ABORT,
    };
    c->policy = (enum policy)o->policy;
    if (promise_check(&o->promise, &r->settings, &c->promise, e) < 0 ||
        migrate_check_policy(r, e) < 0 || migrate_check_promise_alone(r, e) < 0 ||
        migrate_check_throttle(r, e) < 0 || migrate_check_miss(r, e) < 0)
        return -1;
    if (migrate_may_need_postcopy(r)) {
        if (o->multifd > 0)
            return err_set(e, ERR_USAGE, 0, "--multifd and postcopy cannot be used together");
        r->settings.postcopy_held = !o->postcopy;
        r->settings.postcopy = true;
    }
    if (c->promise.allow & PROMISE_THROTTLE)
        migrate_prepare_throttle(r);
    return 0;
}

static void migrate_take_settings(struct migrate_request *r)
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

static int migrate_take_profile(struct migrate_request *r, struct err *e)
{
    const char *path = profile_find(r->opt.profile, e);
    if (path == NULL)
        return -1;
    CLEANUP_FREE char *text = key_lines_read(path, e);
    if (text == NULL)
        return err_wrap(e, "--profile");
    return profile_apply(text, path, &r->opt, e);
}

static int migrate_check_options(struct migrate_request *r, char **operands, struct err *e)
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
    return migrate_take_promise(r, e);
}

int migrate_request_check(struct migrate_request *r, char **operands, struct err *e)
{
    if (r->opt.profile == NULL)
        return migrate_check_options(r, operands, e);
    if (migrate_take_profile(r, e) < 0)
        return -1;
    return migrate_check_options(r, operands, e) == 0
               ? 0
               : err_wrap(e, "with the profile %s", r->opt.profile);
}
