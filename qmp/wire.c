/* SPDX-License-Identifier: Apache-2.0 */
#include "qmp/wire.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/log.h"
#include "core/text.h"

#define WIRE_LOOK_NS (4 * NS_PER_S)

/* /sys/class/net/DEVICE/speed is in Mbit/s, -1 where it is not known. One that is no card, and not made of cards
 * (veth, tap), makes its speed up. */
#define WIRE_SCRIPT                                                                     \
    "h=%s\n"                                                                            \
    "a=$(getent ahosts \"$h\" 2>/dev/null | { read -r a _ && echo \"$a\"; }) || a=$h\n" \
    "d=$(ip -o route get \"$a\" 2>/dev/null | sed -n 's/.* dev \\([^ ]*\\).*/\\1/p')\n" \
    "n=/sys/class/net/$d s=\n"                                                          \
    "for x in $n/device $n/lower_*/device $n/lower_*/lower_*/device; do\n"              \
    "[ -e \"$x\" ] && s=$(cat $n/speed 2>/dev/null)\n"                                  \
    "done\n"                                                                            \
    "r=$(ping -n -q -c 4 -i 0.2 -w 2 \"$a\" 2>/dev/null |\n"                            \
    "sed -n 's,^r[a-z-]* *min.*= *\\([0-9.]*\\)/.*,\\1,p')\n"                           \
    "echo \"${d:--} ${s:--} ${r:--}\""

void wire_read(const char *said, struct wire *w)
{
    char device[32], speed[32], rtt[32];
    *w = (struct wire){.rtt_ns = -1};
    if (sscanf(said, "%31s %31s %31s", device, speed, rtt) != 3)
        return;
    if (strcmp(device, "-") != 0)
        snprintf(w->device, sizeof w->device, "%s", device);
    double mbit = strtod(speed, NULL), ms = strtod(rtt, NULL);
    if (mbit > 0 && mbit < 1e7)
        w->bytes_per_s = (uint64_t)(mbit * 1e6 / 8);
    if (ms > 0 && ms < 1e5)
        w->rtt_ns = llround(ms * 1e6);
}

void wire_look(struct shell *s, const char *host, struct wire *w)
{
    char script[1200], said[256];
    struct err e = {0};
    *w = (struct wire){.rtt_ns = -1};
    if (s->kind == SHELL_NONE || host[0] == '\0')
        return;
    snprintf(script, sizeof script, WIRE_SCRIPT, text_shell_word(host));
    if (shell_run(s, script, said, sizeof said, WIRE_LOOK_NS, &e) == 0)
        wire_read(said, w);
    else
        log_info("the way to %s is not known: %s", host, e.class != ERR_NONE ? e.msg : said);
}
