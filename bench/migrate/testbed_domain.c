/* SPDX-License-Identifier: Apache-2.0 */
/* A libvirt domain on the hosts of the lab, made by tools/domain: moved by godwit, or by virsh. */
#include <stdio.h>
#include <string.h>

#include "bench/child.h"
#include "bench/migrate/testbed_kind.h"
#include "core/clock.h"
#include "core/units.h"

#define DOMAIN_NAME "bench"

static void domain_tool(const struct testbed *s, const char *verb, int host,
                        struct testbed_command *c)
{
    *c = (struct testbed_command){0};
    testbed_word(c, "%s/domain", s->options.lab_tools);
    testbed_word(c, "%s", verb);
    testbed_word(c, "%s", testbed_host_name(host));
    testbed_word(c, DOMAIN_NAME);
}

static int domain_set_paths(struct testbed *s, struct err *e)
{
    for (int host = 0; host < TESTBED_HOSTS; host++) {
        const char *name = testbed_host_name(host);
        int pid = testbed_host_pid(s, name);
        if (pid == 0)
            return err_set(e, ERR_REFUSED, 0, "host %s of the lab is down", name);
        snprintf(s->serial[host], TESTBED_PATH_MAX, "%s/%s/log/%s.serial", s->lab_state, name,
                 DOMAIN_NAME);
        snprintf(s->log[host], TESTBED_PATH_MAX, "%s/%s/log/qemu/%s.log", s->lab_state, name,
                 DOMAIN_NAME);
        snprintf(s->pattern[host], TESTBED_PATH_MAX, "guest=%s,", DOMAIN_NAME);
        snprintf(s->serial_spec[host], sizeof s->serial_spec[host], "serial:%s", s->serial[host]);
        /* The host's own socket, seen from outside of its mount namespace. */
        snprintf(s->libvirt[host], TESTBED_PATH_MAX,
                 "qemu+unix:///system?socket=/proc/%d/root/run/libvirt/libvirt-sock", pid);
    }
    return 0;
}

static void domain_end(struct testbed *s)
{
    for (int host = 0; host < TESTBED_HOSTS; host++) {
        struct testbed_command c;
        struct err e = {0};
        domain_tool(s, "undefine", host, &c);
        testbed_run_always(&c, &e);
    }
}

static int domain_begin(struct testbed *s, struct err *e)
{
    struct testbed_command c;
    if (domain_set_paths(s, e) < 0)
        return -1;
    domain_end(s);
    for (int host = 0; host < TESTBED_HOSTS; host++) {
        domain_tool(s, "define", host, &c);
        testbed_word(&c, "%s", s->cell.guest);
        testbed_guest_words(s, &c);
        if (testbed_run(s, &c, e) < 0)
            return -1;
    }
    domain_tool(s, "start", 0, &c);
    return testbed_run(s, &c, e);
}

static const char *domain_word(const struct scenario_setting *setting, const char *name)
{
    for (size_t i = 0; i < setting->n; i++)
        if (strcmp(setting->words[i].name, name) == 0)
            return setting->words[i].value;
    return NULL;
}

static bool domain_runs(const struct testbed *s, int host)
{
    struct testbed_command c = {0};
    char line[64];
    testbed_on(s, host, &c);
    testbed_word(&c, "virsh");
    testbed_word(&c, "-q");
    testbed_word(&c, "domstate");
    testbed_word(&c, DOMAIN_NAME);
    child_first_line(c.argv, line, sizeof line);
    return strcmp(line, "running") == 0;
}

static int domain_arrived(struct testbed *s, bool *arrived, struct err *e)
{
    bool here = domain_runs(s, s->at), there = domain_runs(s, 1 - s->at);
    if (here == there)
        return err_set(e, ERR_IO, 0, "the domain runs %s", here ? "on both hosts" : "on no host");
    *arrived = there;
    return 0;
}

/* ---- virsh ---- */

/* libvirt takes the downtime limit of a migration that is to come by a command of its own, which
 * does not belong to the time that the migration takes. */
static int domain_ready(struct testbed *s, const struct scenario_setting *setting,
                        enum trial_route route, struct err *e)
{
    const char *limit = domain_word(setting, "downtime-limit");
    int64_t limit_ns;
    if (route != TRIAL_VIRSH || limit == NULL)
        return 0;
    if (units_parse_duration(limit, &limit_ns, e) < 0)
        return -1;
    struct testbed_command c = {0};
    testbed_on(s, s->at, &c);
    testbed_word(&c, "virsh");
    testbed_word(&c, "-q");
    testbed_word(&c, "migrate-setmaxdowntime");
    testbed_word(&c, DOMAIN_NAME);
    testbed_word(&c, "%lld", (long long)((limit_ns + NS_PER_MS - 1) / NS_PER_MS));
    return testbed_run(s, &c, e);
}

/* virsh counts in whole MiB/s. */
static int virsh_bandwidth(const char *value, struct testbed_command *c, struct err *e)
{
    uint64_t bytes_per_s;
    if (units_parse_rate(value, &bytes_per_s, e) < 0)
        return -1;
    if (bytes_per_s % (1 << 20) != 0)
        return err_set(e, ERR_REFUSED, 0, "virsh has only whole MiB/s, not %s", value);
    testbed_word(c, "--bandwidth=%llu", (unsigned long long)(bytes_per_s >> 20));
    return 0;
}

/* One word of a setting, as virsh has it. */
static int virsh_word(const struct scenario_word *w, struct testbed_command *c, struct err *e)
{
    static const struct {
        const char *name, *option; /* with the value behind it */
    } options[] = {
        {"multifd", "--parallel-connections"},
        {"compression", "--comp-methods"},
        {"cpu-throttle-initial", "--auto-converge-initial"},
        {"cpu-throttle-increment", "--auto-converge-increment"},
    };
    if (strcmp(w->name, "downtime-limit") == 0 || strcmp(w->name, SCENARIO_UNOBSERVED) == 0)
        return 0;
    if (strcmp(w->name, "max-bandwidth") == 0)
        return virsh_bandwidth(w->value, c, e);
    if (strcmp(w->name, "postcopy") == 0) {
        testbed_word(c, "--postcopy");
        testbed_word(c, "--postcopy-after-precopy");
        return 0;
    }
    if (strcmp(w->name, "auto-converge") == 0 && strcmp(w->value, "on") == 0) {
        testbed_word(c, "--auto-converge");
        return 0;
    }
    if (strcmp(w->name, "multifd") == 0)
        testbed_word(c, "--parallel");
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        if (strcmp(options[i].name, w->name) == 0) {
            testbed_word(c, "%s=%s", options[i].option, w->value);
            return 0;
        }
    return err_set(e, ERR_REFUSED, 0, "virsh has no option for %s=%s", w->name, w->value);
}

/* virsh's own --timeout pauses the guest, or switches to postcopy, so that it always converges:
 * what must be bounded here is the migration. timeout(1) sends what Ctrl-C would. */
static int domain_virsh(const struct testbed *s, const struct scenario_setting *setting,
                        struct testbed_command *c, struct err *e)
{
    testbed_word(c, "timeout");
    testbed_word(c, "--signal=INT");
    testbed_word(c, "%.3f", (double)s->options.scenario->timeout_ns / NS_PER_S);
    testbed_word(c, "virsh");
    testbed_word(c, "migrate");
    testbed_word(c, "--live");
    for (size_t i = 0; i < setting->n; i++)
        if (virsh_word(&setting->words[i], c, e) < 0)
            return -1;
    testbed_word(c, DOMAIN_NAME);
    testbed_word(c, "qemu+ssh://root@%s/system", testbed_host_name(1 - s->at));
    return 0;
}

static int domain_command(const struct testbed *s, const struct scenario_setting *setting,
                          enum trial_route route, struct testbed_command *c, struct err *e)
{
    testbed_on(s, s->at, c);
    if (route == TRIAL_VIRSH)
        return domain_virsh(s, setting, c, e);
    testbed_word(c, "%s", s->options.godwit);
    testbed_word(c, "migrate");
    testbed_word(c, "-c");
    testbed_word(c, "qemu:///system");
    testbed_word(c, DOMAIN_NAME);
    testbed_word(c, "qemu+ssh://root@%s/system", testbed_host_name(1 - s->at));
    testbed_word(c, "--route=%s", trial_route_name(route));
    testbed_setting_words(s, setting, c);
    return 0;
}

static void domain_look(const struct testbed *s, enum trial_side side, struct timeline_side *look)
{
    int host = testbed_host_of(s, side);
    *look = (struct timeline_side){
        .process_pattern = s->pattern[host],
        .connect = s->libvirt[host],
        .domain = DOMAIN_NAME,
        .events_only = side == TRIAL_DESTINATION,
        .log_path = s->log[host],
    };
}

const struct testbed_kind testbed_domain = {domain_begin,   domain_end,     domain_ready,
                                            domain_arrived, domain_command, domain_look};
