/* SPDX-License-Identifier: Apache-2.0 */
/* The half of the ring that does without io_uring: pread, pwrite and poll(2). */
#ifndef CORE_RING_CALLS_H
#define CORE_RING_CALLS_H

#include "core/ring_queue.h"

/* Does what is in TODO, and waits until something in FLIGHT is ready; what has ended is in DONE. */
void ring_calls_wait(struct ring_queue *q, int64_t timeout_ns);

#endif
