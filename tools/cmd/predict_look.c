/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes into a prediction, each with how sure it is: an interval that is wide where little is known is
 * an answer, too.
 */
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "core/log.h"
#include "core/migrate/match.h"
#include "qmp/dirty.h"
#include "qmp/vm_qmp.h"
#include "tools/cmd/migrate_costs.h"
#include "tools/cmd/predict.h"

/* Of the ten seconds that a prediction may take: the measuring of dirt has to end by then, but is given what a
 * few windows need. The rest takes a second, or two. */
#define LOOK_DIRTY_END_NS (8 * NS_PER_S)
#define LOOK_DIRTY_LEAST_NS (9 * NS_PER_S / 2)

/* A guest dirties more, or less, while it is migrated than when it was measured: bench/results has how far
 * that goes. */
#define LOOK_SKEW ((struct estimate){0.7, 1, 1.6})

/* How fast QEMU finds out that a page is nothing but zeros. */
#define LOOK_ZEROS_PER_S ((struct estimate){1e9, 4e9, 12e9})

/* A link of which nothing is known: from 100 Mbit/s over 1 Gbit/s to 10; and of which only the card's speed is,
 * as parts of it. One thread of QEMU's does not send more than this. */
#define LOOK_LINK_UNKNOWN ((struct estimate){11e6, 112e6, 1.1e9})
#define LOOK_LINK_CARD ((struct estimate){0.2, 0.85, 0.96})
#define LOOK_LINK_GIVEN ((struct estimate){0.85, 0.94, 1})
#define LOOK_THREAD_BYTES_PER_S 1.5e9

/* What Linux' sockets hold at most (the usual third number of tcp_wmem), and hold in fact. */
#define LOOK_QUEUED ((struct estimate){0.2e6, 1e6, 4e6})

/* Round trips that the command waits for: where the shipped costs were measured there was none. */
#define LOOK_TRIPS_QMP 10
#define LOOK_TRIPS_LIBVIRT 40
#define LOOK_TRIPS_PAUSE 1.5

/* ---- pure ---- */

/* Of 1.64 standard deviations of the share, and not below what one page more or less would say. */
void predict_take_memory(struct predict_input *in)
{
    double ram = (double)in->source.ram_bytes, n = (double)in->memory.pages;
    if (in->memory.pages == 0) {
        in->guest.first_pass_bytes = (struct estimate){0.05 * ram, 0.6 * ram, ram};
        return;
    }
    double share = (double)in->memory.not_zero / n;
    double off = 1.645 * sqrt(share * (1 - share) / n) + 1 / n;
    struct estimate part = {share - off, share, share + off};
    in->guest.first_pass_bytes = estimate_scale(estimate_clamp(part, 0, 1), ram);
}

void predict_take_link(struct predict_input *in, uint64_t given_bytes_per_s)
{
    struct model_link *link = &in->link;
    double card = fmin((double)in->wire.bytes_per_s, LOOK_THREAD_BYTES_PER_S);
    *link = (struct model_link){
        .limit_bytes_per_s = (double)in->settings->max_bandwidth_bytes_per_s,
        .rtt_ns = in->wire.rtt_ns,
    };
    if (given_bytes_per_s > 0) {
        in->link_from = PREDICT_LINK_GIVEN;
        link->bytes_per_s = estimate_scale(LOOK_LINK_GIVEN, (double)given_bytes_per_s);
    } else if (in->found.link_cases > 0) {
        in->link_from = PREDICT_LINK_LEARNED;
        link->bytes_per_s = in->found.bytes_per_s;
    } else if (card > 0) {
        in->link_from = PREDICT_LINK_CARD;
        link->bytes_per_s = estimate_scale(LOOK_LINK_CARD, card);
    } else {
        in->link_from = PREDICT_LINK_GUESSED;
        link->bytes_per_s = LOOK_LINK_UNKNOWN;
    }
    /* a pause that was seen between these hosts has it in it */
    link->queued_bytes = in->found.from >= COSTS_HOSTS ? estimate_exactly(0) : LOOK_QUEUED;
}

void predict_take_costs(struct predict_input *in)
{
    in->costs = in->found.costs;
    in->costs.zero_bytes_per_s = LOOK_ZEROS_PER_S;
    if (in->found.from >= COSTS_HOSTS || in->wire.rtt_ns <= 0)
        return;
    double rtt_ns = (double)in->wire.rtt_ns;
    double trips = strcmp(in->route, "qmp") == 0 ? LOOK_TRIPS_QMP : LOOK_TRIPS_LIBVIRT;
    in->costs.begin_ns = estimate_add(in->costs.begin_ns, estimate_exactly(trips * rtt_ns));
    in->costs.pause_ns =
        estimate_add(in->costs.pause_ns, estimate_exactly(LOOK_TRIPS_PAUSE * rtt_ns));
}

/* ---- asking ---- */

/* Each side of a domain, too, is one underneath (qmp/vm_qmp.h). */
static struct vm_qmp *look_qmp(const struct migrate_sides *sides)
{
    return (struct vm_qmp *)sides->source;
}

static int look_at_sides(struct migrate_sides *sides, const struct migrate_request *request,
                         struct predict_input *in, struct err *e)
{
    struct vm *source = sides->source, *destination = sides->destination;
    if (source->ops->probe(source, &in->source, e) < 0 ||
        destination->ops->probe(destination, &in->destination, e) < 0 ||
        match_facts(&in->source, &in->destination, e) < 0 ||
        source->ops->check(source, &request->settings, e) < 0 ||
        destination->ops->check(destination, &request->settings, e) < 0)
        return -1;
    struct qmp_client *c = vm_qmp_client(look_qmp(sides), e);
    struct qmp_parameters parameters;
    if (c == NULL || qmp_query_parameters(c, &parameters, NULL, e) < 0)
        return -1;
    in->limit_ns = (int64_t)parameters.downtime_limit_ms * NS_PER_MS;
    return 0;
}

/* A guest that is stopped dirties nothing. */
static int look_at_dirt(struct migrate_sides *sides, int64_t began_ns, struct predict_input *in,
                        struct err *e)
{
    static struct dirty_result seen; /* too large for a stack */
    int64_t left_ns = began_ns + LOOK_DIRTY_END_NS - clock_now_ns();
    struct dirty_options options = {
        .budget_ns = left_ns > LOOK_DIRTY_LEAST_NS ? left_ns : LOOK_DIRTY_LEAST_NS};
    struct dirty_qemu qemu = {.known = false};
    in->guest = (struct model_guest){.ram_bytes = in->source.ram_bytes, .skew = LOOK_SKEW};
    in->guest.curve.ram_bytes = in->source.ram_bytes;
    if (in->source.run != VM_RUN_RUNNING)
        return 0;
    struct qmp_client *c = vm_qmp_client(look_qmp(sides), e);
    if (c == NULL || dirty_measure(sides->loop, c, &options, &qemu, &seen, e) < 0)
        return err_wrap(e, "what the guest dirties cannot be measured");
    in->guest.curve = seen.curve;
    in->guest.curve.ram_bytes = in->source.ram_bytes;
    return 0;
}

/* Of a domain the thread's number is all that its QEMU says, and it may be of another PID namespace: the guest's
 * UUID is on the command line of the right one. */
static bool look_has_uuid(int64_t thread, const char *uuid)
{
    char path[64], text[16384];
    snprintf(path, sizeof path, "/proc/%" PRIi64 "/cmdline", thread);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return false;
    size_t n = fread(text, 1, sizeof text, f);
    fclose(f);
    return uuid[0] != '\0' && memmem(text, n, uuid, strlen(uuid)) != NULL;
}

/* A thread of the source's QEMU, on this machine; 0: it is not known. */
static int64_t look_for_thread(const struct migrate_sides *sides, const struct predict_input *in)
{
    const struct vm_qmp *q = look_qmp(sides);
    if (q->process.pid > 0)
        return q->process.pid;
    return sides->route != NULL && look_has_uuid(q->thread, in->source.uuid) ? q->thread : 0;
}

static void look_at_memory(const struct migrate_sides *sides, const struct shell *shell,
                           struct predict_input *in)
{
    struct err e = {0};
    int64_t thread = shell->kind == SHELL_LOCAL ? look_for_thread(sides, in) : 0;
    if (thread == 0)
        log_info("how much of the guest's memory is zeros is not known: its QEMU's process is not");
    else if (guest_memory_look(thread, in->source.ram_bytes, &in->memory, &e) < 0)
        log_info("how much of the guest's memory is zeros is not known: %s", e.msg);
    if (e.class != ERR_NONE)
        in->memory = (struct guest_memory){.pages = 0};
    predict_take_memory(in);
}

static void look_up_costs(struct predict_input *in)
{
    char path[PATH_MAX];
    struct err e = {0};
    CLEANUP_COSTS struct costs *costs = costs_new();
    if (costs != NULL && (costs_path(path, sizeof path, &e) < 0 || costs_read(costs, path, &e) < 0))
        log_warn("what earlier migrations have cost is not known: %s", e.msg);
    costs_find(costs, &in->key, &in->found);
}

int predict_look(struct migrate_sides *sides, const struct migrate_request *request,
                 uint64_t link_bytes_per_s, int64_t began_ns, struct predict_input *in,
                 struct err *e)
{
    struct shell shell;
    *in = (struct predict_input){
        .route = migrate_sides_route(sides, request),
        .route_reason = sides->route != NULL ? sides->route->reason : NULL,
        .settings = &request->settings,
        .timeout_ns = request->opt.timeout_ns > 0 ? request->opt.timeout_ns : 0,
        .wire = {.rtt_ns = -1},
    };
    if (look_at_sides(sides, request, in, e) < 0)
        return -1;
    migrate_costs_key(request, in->route, &in->source, &in->destination, &in->key);
    look_up_costs(in);
    if (look_at_dirt(sides, began_ns, in, e) < 0)
        return -1;
    if (request->domain.domain != NULL)
        virt_route_shell(request->domain.connect, &shell);
    else
        shell_of_endpoint(&request->source_ep, &shell);
    look_at_memory(sides, &shell, in);
    if (strcmp(in->key.source_host, in->key.destination_host) != 0)
        wire_look(&shell,
                  request->domain.stream_host != NULL ? request->domain.stream_host
                                                      : in->key.destination_host,
                  &in->wire);
    shell_close(&shell);
    predict_take_link(in, link_bytes_per_s);
    predict_take_costs(in);
    return 0;
}
