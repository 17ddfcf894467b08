/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processor time and memory of a QEMU process, by what its threads do, from /proc.
 *
 * What a thread does is its name, and QEMU names its threads only with -name …,debug-threads=on,
 * as libvirt always says. Without it only the whole process is known.
 *   vCPU       "CPU 0/TCG", "CPU 1/KVM"
 *   migration  QEMU 7.2: "live_migration", "multifdsend_0", "multifdrecv_0", "return path",
 *              "postcopy/listen", "fault-default", "bg_snapshot"; from 9.1 on: "mig/src/main",
 *              "mig/src/send_0", "mig/dst/recv_0" …
 * A destination loads the stream in its main thread, which is in neither.
 */
#ifndef BENCH_PROC_USAGE_H
#define BENCH_PROC_USAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/err.h"

#define PROC_USAGE_UNKNOWN UINT64_MAX

/* Cumulative since the process began, threads that have ended included, but for the memory. */
struct proc_usage_sample {
    uint64_t vcpu_cpu_ns, migration_cpu_ns; /* PROC_USAGE_UNKNOWN: its threads have no names */
    uint64_t all_cpu_ns;
    uint64_t rss_bytes;
};

struct proc_usage;

/* ERR_LOST: there is no such process. */
struct proc_usage *proc_usage_open(pid_t pid, struct err *e);

/* A few system calls: see bench/migrate/timeline.h. False: the process has ended. */
bool proc_usage_read(struct proc_usage *p, struct proc_usage_sample *s);

void proc_usage_close(struct proc_usage *p); /* NULL is fine */

enum proc_thread { PROC_THREAD_OTHER, PROC_THREAD_VCPU, PROC_THREAD_MIGRATION };

enum proc_thread proc_thread_of(const char *name);

/* The QEMU process whose command line, with spaces between its words, has this text, and that is not
 * `but`; 0: there is none. */
pid_t proc_find_qemu(const char *text, pid_t but);

#endif
