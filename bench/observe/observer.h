/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a migration looks like from outside the guest: observers that collect signs of life and
 * tell how long there was none. The guest's own clocks cannot: they stand still with it.
 *
 * An observer is named by a spec:
 *
 *   ping:ADDRESS[@INTERVAL]   an echo request every INTERVAL (default 5ms; from 1ms to 60s); each
 *                             answer is a sign of life. ADDRESS is IPv4, IPv6 or a name.
 *   serial:PATH               what the guest writes on a serial port. PATH is a local log file, a
 *                             listening unix socket, a pty or a FIFO; only what comes from now on
 *                             counts. If there are heartbeats (bench/guest/heartbeat.h), then each
 *                             of them is a sign of life and nothing else is (a guest that panics
 *                             talks a lot); from any other guest, each chunk of bytes is one.
 *
 *   announce:IFNAME[@MAC]     whether the network is told of a move: the RARPs, gratuitous ARPs and unsolicited
 *                             neighbour advertisements (of that MAC) that come by on an interface of this
 *                             machine. They are no signs of life: a guest is not heard by them.
 *
 * Each ping is a group of its own. All serials are one group, because the guest is one: the log of
 * the source and that of the destination go on from each other, also in the middle of a line.
 *
 *     struct observer *o = observer_open(specs, n, &e);
 *     …                            a second or so in which nothing happens
 *     observer_mark(o);
 *     …                            the migration, and a second more
 *     groups = observer_stop(o, results, n);
 */
#ifndef BENCH_OBSERVE_OBSERVER_H
#define BENCH_OBSERVE_OBSERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"

enum {
    OBSERVER_SPECS_MAX = 16,
    OBSERVER_SILENCES = 4,
    OBSERVER_NOTICED = 128,
    OBSERVER_QUIET_TIMES =
        5, /* a silence is noticed when it is longer than the quiet level so many times */
    OBSERVER_ANNOUNCES = 32,
    OBSERVER_WHAT_MAX = 160,
};

#define OBSERVER_NO_CLOCK INT64_MIN

enum observer_kind { OBSERVER_PING, OBSERVER_SERIAL, OBSERVER_ANNOUNCE };

enum observer_announce_kind { OBSERVER_RARP, OBSERVER_GRATUITOUS_ARP, OBSERVER_UNSOLICITED_NA };

struct observer_announce {
    int64_t at_ns;
    enum observer_announce_kind kind;
    uint8_t mac[6]; /* the frame's source */
};

struct observer_silence {
    int64_t began_ns; /* CLOCK_MONOTONIC: the last sign of life before it */
    int64_t length_ns;
    bool open;       /* the guest had not come back when the observer was stopped */
    int from, to;    /* index of the spec whose sign of life came before and after it; -1: none */
    int64_t late_ns; /* the observer itself slept this much too long in it: what it may be off */
};

/* Times are CLOCK_MONOTONIC, lengths nanoseconds; -1 where there is nothing to tell. */
struct observer_result {
    enum observer_kind kind;
    char what[OBSERVER_WHAT_MAX]; /* the spec; of a serial group all, joined by " + " */
    uint64_t count;               /* signs of life. 0: nothing below means anything, so warn */
    int64_t first_ns, last_ns;

    /* Since the mark; without a mark, since the first sign of life. What was still open at the end
     * is a silence too, so that a guest that never came back does not look good. */
    int64_t longest_silence_ns;
    int64_t silence_began_ns;
    struct observer_silence silences[OBSERVER_SILENCES]; /* the longest first */
    size_t silences_n;
    /* The longest of those that began by one spec and ended by another: the guest has changed sides
     * in it, however many longer ones there are. length_ns -1: none. */
    struct observer_silence crossing;

    /* Every silence since the mark that is longer than OBSERVER_QUIET_TIMES times the quiet level, after what
     * the observer itself may have slept in it was taken off: on a machine that is busy, its own sleep is none
     * of the guest's. In the order in which they came; of more than fit the longest are kept, and all are
     * counted. Where nothing is known of the time before the mark there are none, and quiet_ns is -1. */
    struct observer_silence noticed[OBSERVER_NOTICED];
    size_t noticed_n;
    uint64_t noticed_count;
    int64_t noticed_sum_ns;
    /* The quiet level: nine of ten intervals up to the mark are no longer. A machine that hesitates now and
     * then does not lift it, and its usual unrest does not lie above five times of it. */
    int64_t quiet_ns;

    /* Between signs of life up to the mark (without a mark: all the time). This is the observer's
     * resolution: a silence of p99_interval_ns is no news. */
    int64_t median_interval_ns;
    int64_t p99_interval_ns;
    int64_t max_interval_ns;

    /* All the time. */
    uint64_t sent;       /* ping: requests */
    uint64_t lost;       /* ping: not answered 100 ms after they were sent, nor later;
                          * heartbeats: missing in the sequence */
    uint64_t duplicates; /* heartbeats: also the sign of two running copies of one guest */
    uint64_t reordered;
    uint64_t restarts; /* heartbeats: the sequence began anew, so the guest was booted */

    /* Of serial: what the guest's clock has gained (below 0: lost) against ours from one spec to the next, by the
     * lines in which a Linux guest says its time (bench/guest/heartbeat.h). OBSERVER_NO_CLOCK: it does not, or
     * did not change sides. A clock that stands in the pause loses that. */
    int64_t clock_step_ns;

    /* Of announce, since the mark: the first ones, and how many came. Zero: none was seen. */
    struct observer_announce announced[OBSERVER_ANNOUNCES];
    size_t announced_n;
    uint64_t announced_count;
};

/* Where a silence was, seen from the guest's own pause. */
enum observer_place {
    OBSERVER_PLACE_UNKNOWN, /* nothing tells when the pause was */
    OBSERVER_BEFORE,
    OBSERVER_SWITCHOVER,
    OBSERVER_AFTER,
};

/* When the guest stood: from the source's STOP to the destination's RESUME; -1: not known. */
struct observer_pause {
    int64_t stopped_ns, resumed_ns;
};

/* What is not known of *pause, by the silence in which the guest has changed sides in the eyes of any of the
 * observers. */
void observer_find_pause(const struct observer_result *results, size_t n,
                         struct observer_pause *pause);

/* A silence that begins by one spec and ends by another is the switchover's, whatever the clock says. */
enum observer_place observer_place(const struct observer_silence *s,
                                   const struct observer_pause *pause);

const char *observer_place_name(enum observer_place place); /* "switchover"; NULL: unknown */

/* How many of an announce observer's came after the guest's stop; where that is not known, since the mark. */
size_t observer_announced_after(const struct observer_result *r,
                                const struct observer_pause *pause);
const char *observer_announce_name(enum observer_announce_kind kind); /* "gratuitous-arp" */

/*
 * The silence of the switchover as the worst of the observers saw it, a guest's warm-up included: the longest
 * that is placed there. -1: none of them saw it, or nobody knows when it was. *open: one had not ended when the
 * observer was stopped, so that it is a lower bound.
 */
int64_t observer_switchover_ns(const struct observer_result *results, size_t n,
                               const struct observer_pause *pause, bool *open);

struct observer;

/* One heartbeat (bench/guest/heartbeat.h), as it came. */
struct observer_beat {
    int64_t at_ns;
    uint32_t seq, work;
    int spec; /* index of the spec that it came by */
};

/* All of them, in the order in which they came. Zero it before; free(at) after. */
struct observer_beats {
    struct observer_beat *at;
    size_t n, room;
};

/*
 * Starts to observe, in a thread of its own. ERR_USAGE: a spec cannot be understood, or is there
 * twice. ERR_REFUSED: a path or address that cannot be opened (ping needs CAP_NET_RAW or a group in
 * net.ipv4.ping_group_range). The specs need not outlive the call.
 */
struct observer *observer_open(const char *const *specs, size_t n, struct err *e);

/* The same, and writes each heartbeat down. The observer's thread has *beats until
 * observer_stop(). */
struct observer *observer_open_beats(const char *const *specs, size_t n,
                                     struct observer_beats *beats, struct err *e);

/* The undisturbed time ends here. Once, before observer_stop(). */
void observer_mark(struct observer *o);

/*
 * Ends and frees the observer. Writes the results of the first `n` groups, in the order of the
 * specs (the serials at their first), and returns how many were written: never more than specs.
 */
size_t observer_stop(struct observer *o, struct observer_result *results, size_t n);

#endif
