/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The power button of the Linux guest: what `virsh shutdown` presses.
 */
#ifndef GODWIT_BENCH_GUEST_LINUX_POWER_H
#define GODWIT_BENCH_GUEST_LINUX_POWER_H

/* Thread body: wait for the button, and power off. Ends where there is none. No argument. */
void *power_run(void *argument);

#endif
