/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pause beside the sending of RAM is what was observed, less what QEMU has sent in it at the link's rate.
 * QEMU counts that (ram.downtime-bytes); of a domain on the native route nobody does, and then a pause is
 * learned only where next to nothing was left before it.
 */
#include "tools/cmd/migrate_costs.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/clock.h"

/* Between two reports that tell a rate: shorter ones are rounding. What is sent in the first moments fills
 * sockets, and was not carried yet. */
#define RATES_TICK_MIN_NS (40 * NS_PER_MS)
#define RATES_BEGIN_NS (300 * NS_PER_MS)
#define RATES_ENOUGH 5
#define RATES_ENOUGH_BYTES (4.0 * 1048576)

/* Of max-bandwidth: what is no slower than this was held back by it. */
#define RATES_HELD_BACK 0.85

/* What is left may take so much of the pause, and be no matter. */
#define COSTS_NOTHING_LEFT 0.1

void migrate_rates_follow(struct migrate_rates *r, const struct migrate_progress *p)
{
    const struct vm_sample *now = &p->source, *then = &r->before.source;
    bool begins = p->phase == PHASE_PRECOPY && r->before.phase != PHASE_PRECOPY;
    bool both = p->phase == PHASE_PRECOPY && r->before.phase == PHASE_PRECOPY &&
                now->migration == VM_MIGRATION_ACTIVE && then->migration == VM_MIGRATION_ACTIVE;
    int64_t ns = p->elapsed_ns - r->before.elapsed_ns;
    if (both && ns < RATES_TICK_MIN_NS)
        return;
    if (begins)
        r->began_ns = p->elapsed_ns;
    if (both && r->before.elapsed_ns - r->began_ns >= RATES_BEGIN_NS &&
        now->ram_transferred_bytes >= then->ram_transferred_bytes) {
        uint64_t sent = now->ram_transferred_bytes - then->ram_transferred_bytes;
        uint64_t handled = now->ram_handled_bytes - then->ram_handled_bytes;
        /* mostly zero pages, or compressed ones: that was not the link's speed */
        if (handled <= sent + sent / 8) {
            r->n++;
            r->bytes += (double)sent;
            r->ns += (double)ns;
        }
    }
    r->before = *p;
}

double migrate_rates_link(const struct migrate_rates *r)
{
    bool enough = r->n >= RATES_ENOUGH && r->bytes >= RATES_ENOUGH_BYTES;
    return enough ? r->bytes * (double)NS_PER_S / r->ns : 0;
}

/* ---- under what it is kept ---- */

static void costs_this_host(char *name, size_t room)
{
    if (gethostname(name, room) < 0)
        snprintf(name, room, "localhost");
    name[room - 1] = '\0';
}

/* The host of "qemu+ssh://[user@]HOST[:port]/system"; of "qemu:///system" this one. */
static void costs_uri_host(const char *uri, char *name, size_t room)
{
    const char *from = uri != NULL ? strstr(uri, "://") : NULL;
    size_t len = from != NULL ? strcspn(from + 3, "/?") : 0;
    if (len == 0) {
        costs_this_host(name, room);
        return;
    }
    snprintf(name, room, "%.*s", (int)len, from + 3);
    char *at = strrchr(name, '@');
    if (at != NULL)
        memmove(name, at + 1, strlen(at + 1) + 1);
    char *colon = strrchr(name, ':');
    if (colon != NULL && strchr(colon, ']') == NULL)
        *colon = '\0';
}

static void costs_bare_hosts(const struct migrate_request *q, struct costs_key *k)
{
    if (q->source_ep.scheme == QMP_UNIX || q->source_ep.host[0] == '\0')
        costs_this_host(k->source_host, sizeof k->source_host);
    else
        snprintf(k->source_host, sizeof k->source_host, "%.127s", q->source_ep.host);
    const char *via = q->opt.via, *colon = strrchr(via, ':');
    if (strncmp(via, "tcp:", 4) == 0 && colon > via + 4)
        snprintf(k->destination_host, sizeof k->destination_host, "%.*s", (int)(colon - via - 4),
                 via + 4);
    else
        memcpy(k->destination_host, k->source_host, sizeof k->destination_host);
}

void migrate_costs_key(const struct migrate_request *request, const char *route,
                       const struct vm_facts *source, const struct vm_facts *destination,
                       struct costs_key *k)
{
    *k = (struct costs_key){
        .vcpus = source->vcpus, .ram_bytes = source->ram_bytes, .kvm = source->kvm};
    if (request->domain.domain != NULL) {
        costs_uri_host(request->domain.connect, k->source_host, sizeof k->source_host);
        costs_uri_host(request->domain.destination_uri, k->destination_host,
                       sizeof k->destination_host);
    } else {
        costs_bare_hosts(request, k);
    }
    snprintf(k->source_version, sizeof k->source_version, "%s", source->hypervisor);
    snprintf(k->destination_version, sizeof k->destination_version, "%s", destination->hypervisor);
    snprintf(k->route, sizeof k->route, "%s", route);
    snprintf(k->machine, sizeof k->machine, "%s", source->machine);
}

/* ---- what is kept ---- */

/* Of the pause, for the RAM that was sent in it; -1: not known. */
static int64_t costs_sending_ns(const struct migrate_report *report,
                                const struct migrate_rates *rates, double bytes_per_s)
{
    bool counted = report->last.pause_bytes > 0;
    double bytes =
        (double)(counted ? report->last.pause_bytes : rates->before.source.ram_remaining_bytes);
    if (bytes_per_s <= 0)
        bytes_per_s = (double)report->last.bandwidth_bytes_per_s;
    if (bytes <= 0)
        return 0;
    double ns = bytes_per_s > 0 ? bytes * (double)NS_PER_S / bytes_per_s : INFINITY;
    double most_ns = (double)report->downtime_observed_ns * (counted ? 1 : COSTS_NOTHING_LEFT);
    return ns <= most_ns ? (int64_t)ns : -1;
}

static int64_t costs_pause_ns(const struct migrate_report *report, const struct vm_settings *s,
                              const struct migrate_rates *rates, double bytes_per_s)
{
    if (report->guest != MIGRATE_GUEST_DESTINATION || report->downtime_observed_ns < 0 ||
        s->postcopy || s->pause)
        return -1;
    int64_t sending_ns = costs_sending_ns(report, rates, bytes_per_s);
    return sending_ns < 0 ? -1 : report->downtime_observed_ns - sending_ns;
}

struct costs_case migrate_costs_case(const struct migrate_report *report,
                                     const struct vm_settings *settings,
                                     const struct migrate_rates *rates, int64_t resumed_ns,
                                     int64_t silence_ns)
{
    double link = settings->compression == VM_COMPRESSION_NONE ? migrate_rates_link(rates) : 0;
    double most = (double)settings->max_bandwidth_bytes_per_s;
    bool moved = report->guest == MIGRATE_GUEST_DESTINATION;
    struct costs_case seen = {
        .begin_ns = -1,
        .pause_ns = costs_pause_ns(report, settings, rates, link),
        .warm_up_ns = moved && silence_ns >= 0 && report->downtime_observed_ns >= 0
                          ? (silence_ns > report->downtime_observed_ns
                                 ? silence_ns - report->downtime_observed_ns
                                 : 0)
                          : -1,
        .end_ns = moved && resumed_ns > 0 ? report->ended_ns - resumed_ns : -1,
        .bytes_per_s = most > 0 && link > most * RATES_HELD_BACK ? 0 : link,
    };
    for (size_t i = 0; i < report->phases.logged && seen.begin_ns < 0; i++)
        if (report->phases.log[i].phase == PHASE_PRECOPY)
            seen.begin_ns = report->phases.log[i].at_ns - report->started_ns;
    return seen;
}
