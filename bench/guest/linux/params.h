/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * What the kernel command line says to the Linux guest:
 *
 *     godwit.ip=A.B.C.D/LEN      address of eth0; without it the network stays down
 *     godwit.period_us=N         heartbeat period, 100 to 10000000; 1000
 *     godwit.working_set=SIZE    memory to dirty, 0 or a multiple of 4K; 32M
 *     godwit.dirty_rate=SIZE     bytes of it per second, below 4G; 20M
 *     godwit.records_per_s=N     records written to /dev/vda, 0 to 10000; 50
 *
 * SIZE is a number, or a number with the unit K, M or G.
 */
#ifndef GODWIT_BENCH_GUEST_LINUX_PARAMS_H
#define GODWIT_BENCH_GUEST_LINUX_PARAMS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct params {
    bool has_ip;
    struct in_addr ip;
    struct in_addr netmask;
    uint32_t period_us;
    uint64_t working_set_bytes;
    uint32_t dirty_rate_bytes_per_s;
    uint32_t records_per_s;
};

/*
 * Fill in *PARAMS from CMDLINE, which is cut up. What is wrong keeps its default and -1
 * is returned, with the first bad word in BAD (cut to BAD_SIZE).
 */
int params_parse(struct params *params, char *cmdline, char *bad, size_t bad_size);

#endif
