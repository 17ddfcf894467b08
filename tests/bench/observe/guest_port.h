/* SPDX-License-Identifier: Apache-2.0 */
/* A guest for the tests of the observers, which is the test itself: it writes heartbeats, pauses, hands over, and dies. */
#ifndef TESTS_BENCH_OBSERVE_GUEST_PORT_H
#define TESTS_BENCH_OBSERVE_GUEST_PORT_H

#include <stdint.h>

#include "bench/observe/observer.h"

/* For all files of a test; the group's set-up and tear-down. */
extern char guest_folder[];
int guest_folder_make(void **state);
int guest_folder_remove(void **state);

struct guest_port {
    char spec[128];
    const char *path; /* within spec */
    int listen_fd;
    int fd;
};

/* By this name in the folder: nothing yet; a socket that is listened on; a file. */
void guest_port_name(struct guest_port *p, const char *name);
void guest_port_listen(struct guest_port *p, const char *name);
void guest_port_accept(struct guest_port *p);
void guest_port_write_file(struct guest_port *p, const char *name);
void guest_port_close(struct guest_port *p);

void guest_sleep_ns(int64_t ns);
void guest_port_say(struct guest_port *p, const char *text);
void guest_port_beat(struct guest_port *p, uint32_t seq);
/* One beat a millisecond, `n` of them from `seq` on; returns the next. */
uint32_t guest_port_beats(struct guest_port *p, uint32_t seq, int n);

/*
 * The longest time between two beats as the guest knows it, because this machine is late at times:
 * at least from the end of one write to the start of the next, at most from start to end.
 */
extern int64_t guest_gap_low_ns, guest_gap_high_ns;
void guest_gaps_from_here(void);

struct observer *guest_observe(const struct guest_port *p);
struct observer *guest_observe_two(const struct guest_port *a, const struct guest_port *b);
struct observer_result guest_observe_end(struct observer *o);

void assert_ms_within(int64_t ns, int64_t low_ms, int64_t high_ms);
/* Why there is no ping here, or NULL. */
const char *guest_no_ping(int family, int protocol);

#endif
