/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/machine.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "bench/child.h"
#include "core/cleanup.h"

static void machine_cpu(char cpu[MACHINE_TEXT_MAX])
{
    CLEANUP_FCLOSE FILE *f = fopen("/proc/cpuinfo", "re");
    char line[256];
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        char *value = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || value == NULL)
            continue;
        value += strspn(value, ": ");
        snprintf(cpu, MACHINE_TEXT_MAX, "%.*s", (int)strcspn(value, "\n"), value);
        return;
    }
}

void machine_look(struct machine *m)
{
    struct utsname u;
    cpu_set_t set;
    *m = (struct machine){.load = {-1, -1, -1}};
    uname(&u);
    snprintf(m->kernel, sizeof m->kernel, "%.40s %.50s", u.sysname, u.release);
    machine_cpu(m->cpu);
    m->cores = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set)
                                                           : sysconf(_SC_NPROCESSORS_ONLN);
    getloadavg(m->load, 3);
}

/* nfs-cp has no option for it. */
static void machine_package_version(const char *program, char version[MACHINE_TEXT_MAX])
{
    char pattern[64], line[MACHINE_TEXT_MAX];
    snprintf(pattern, sizeof pattern, "*bin/%.40s", program);
    const char *const search[] = {"dpkg-query", "-S", pattern, NULL};
    child_first_line(search, line, sizeof line);
    line[strcspn(line, ":,")] = '\0';
    const char *const show[] = {"dpkg-query", "-W", "-f", "${Package} ${Version}\n", line, NULL};
    if (line[0] != '\0')
        child_first_line(show, version, MACHINE_TEXT_MAX);
}

void machine_version(const char *program, char version[MACHINE_TEXT_MAX])
{
    const char *const ask[] = {program, "--version", NULL};
    child_first_line(ask, version, MACHINE_TEXT_MAX);
    char *number = strstr(version, "version ");
    if (number != NULL)
        memmove(version, number + 8, strlen(number + 8) + 1);
    else
        machine_package_version(program, version);
    version[strcspn(version, "(")] = '\0';
    size_t len = strlen(version);
    while (len > 0 && version[len - 1] == ' ')
        version[--len] = '\0';
}
