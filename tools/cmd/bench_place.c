/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cmd/bench_place.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* In the build tree the guests are two folders away from the program. */
int bench_place_find(struct bench_place *p, const struct scenario *s, const char *guests,
                     const char *lab_tools, struct err *e)
{
    ssize_t n = readlink("/proc/self/exe", p->godwit, sizeof p->godwit - 1);
    if (n < 0)
        return err_set(e, ERR_IO, errno, "/proc/self/exe: cannot read it");
    p->godwit[n] = '\0';
    if (guests != NULL)
        snprintf(p->guests, sizeof p->guests, "%s", guests);
    else
        snprintf(p->guests, sizeof p->guests, "%.*s/../bench/guest",
                 (int)(strrchr(p->godwit, '/') - p->godwit), p->godwit);
    snprintf(p->lab_tools, sizeof p->lab_tools, "%s", lab_tools != NULL ? lab_tools : "tools");

    char path[BENCH_PLACE_MAX + 32];
    bool linux_guest = s->guest == SCENARIO_LINUX;
    snprintf(path, sizeof path, "%s/%s", p->guests, linux_guest ? "initrd.img" : "bare-guest.elf");
    if (s->guest != SCENARIO_COMMAND && access(path, R_OK) < 0) {
        err_set(e, ERR_REFUSED, errno, "%s: cannot be used", path);
        return err_hint(e, linux_guest ? "build it: meson compile -C BUILD linux-guest"
                                       : "give --guests the directory bench/guest of a build tree");
    }
    snprintf(path, sizeof path, "%s/lab", p->lab_tools);
    if (s->where == SCENARIO_LAB && access(path, X_OK) < 0) {
        err_set(e, ERR_REFUSED, errno, "%s: cannot be used", path);
        return err_hint(e,
                        "give --lab-tools the directory tools of godwit's source, or use --local");
    }
    return 0;
}

int bench_place_make_scratch(struct bench_place *p, struct err *e)
{
    snprintf(p->scratch, sizeof p->scratch, "/tmp/godwit-bench.XXXXXX");
    if (mkdtemp(p->scratch) != NULL)
        return 0;
    p->scratch[0] = '\0';
    return err_set(e, ERR_IO, errno, "/tmp: cannot make a directory in it");
}

void bench_place_remove_scratch(struct bench_place *p)
{
    static const char *const names[] = {"a.qmp", "a.qmp2", "a.console", "a.log",
                                        "a.pid", "b.qmp",  "b.qmp2",    "b.console",
                                        "b.log", "b.pid",  "bare",      "stream"};
    char path[sizeof p->scratch + 16];
    if (p->scratch[0] == '\0')
        return;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", p->scratch, names[i]);
        unlink(path);
    }
    rmdir(p->scratch);
    p->scratch[0] = '\0';
}
