/* SPDX-License-Identifier: Apache-2.0 */
#include "core/owner.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "core/cleanup.h"

/* The first line of a small file; false: there is none, or it does not fit. */
static bool owner_read_line(const char *path, char *line, size_t size)
{
    CLEANUP_FCLOSE FILE *f = fopen(path, "re");
    if (f == NULL || fgets(line, (int)size, f) == NULL)
        return false;
    size_t len = strcspn(line, "\n");
    bool whole = line[len] == '\n';
    line[len] = '\0';
    return whole;
}

static bool owner_boot_id(uint8_t id[OWNER_BOOT_ID_BYTES])
{
    char text[64];
    if (!owner_read_line("/proc/sys/kernel/random/boot_id", text, sizeof text))
        return false;
    size_t digits = 0;
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '-')
            continue;
        if (!isxdigit((unsigned char)*c) || digits == 2 * OWNER_BOOT_ID_BYTES)
            return false;
        int value = *c <= '9' ? *c - '0' : tolower((unsigned char)*c) - 'a' + 10;
        id[digits / 2] = (uint8_t)(digits % 2 == 0 ? value << 4 : id[digits / 2] | value);
        digits++;
    }
    return digits == 2 * OWNER_BOOT_ID_BYTES;
}

/* When process `pid` started; false: there is none, or it is a zombie. proc(5), /proc/PID/stat. */
static bool owner_start_ticks(uint32_t pid, uint64_t *ticks)
{
    char path[32], line[1024];
    snprintf(path, sizeof path, "/proc/%" PRIu32 "/stat", pid);
    if (!owner_read_line(path, line, sizeof line))
        return false;
    const char *rest = strrchr(line, ')'); /* ends the 2nd field, which may hold anything */
    char state;
    return rest != NULL &&
           sscanf(rest + 1,
                  " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d"
                  " %" SCNu64,
                  &state, ticks) == 2 &&
           state != 'Z' && state != 'X';
}

static uint64_t owner_hash(const void *p, size_t len)
{
    return XXH3_64bits(p, len) | 1;
}

int owner_self(struct owner *o, struct err *e)
{
    char machine[128];
    struct stat space;
    *o = (struct owner){.pid = (uint32_t)getpid()};
    if (gethostname(o->host, OWNER_HOST_BYTES) < 0)
        return err_set(e, ERR_IO, errno, "cannot tell the name of this host");
    if (!owner_boot_id(o->boot_id))
        return err_set(e, ERR_IO, 0, "cannot read /proc/sys/kernel/random/boot_id");
    if (!owner_start_ticks(o->pid, &o->start_ticks))
        return err_set(e, ERR_IO, 0, "cannot read /proc/%" PRIu32 "/stat", o->pid);
    if (owner_read_line("/etc/machine-id", machine, sizeof machine) && machine[0] != '\0')
        o->machine = owner_hash(machine, strlen(machine));
    if (stat("/proc/self/ns/pid", &space) == 0)
        o->pid_space = (uint32_t)space.st_ino;
    return 0;
}

/* What both forms come down to. */
struct owner_judged {
    bool same_host, same_boot, same_space;
    uint32_t pid;
    uint64_t start_ticks;
};

static enum owner_state owner_judge(const struct owner_judged *j)
{
    uint64_t ticks;
    if (!j->same_boot)
        return j->same_host ? OWNER_DEAD : OWNER_UNKNOWN;
    if (!j->same_space)
        return OWNER_UNKNOWN;
    if (!owner_start_ticks(j->pid, &ticks) || ticks != j->start_ticks)
        return OWNER_DEAD;
    return j->pid == (uint32_t)getpid() ? OWNER_SELF : OWNER_ALIVE;
}

enum owner_state owner_state(const struct owner *o)
{
    struct owner self;
    struct err unknown = {0};
    if (o->pid == 0)
        return OWNER_DEAD;
    if (owner_self(&self, &unknown) < 0)
        return OWNER_UNKNOWN;
    const struct owner_judged j = {
        .same_host = o->machine != 0 && o->machine == self.machine &&
                     strcmp(o->host, self.host) == 0,
        .same_boot = memcmp(o->boot_id, self.boot_id, sizeof self.boot_id) == 0,
        .same_space = o->pid_space == self.pid_space,
        .pid = o->pid,
        .start_ticks = o->start_ticks,
    };
    return owner_judge(&j);
}

static uint32_t owner_host_hash(const struct owner *o)
{
    return o->machine == 0 ? 0 : (uint32_t)(owner_hash(o->host, strlen(o->host)) ^ o->machine) | 1;
}

void owner_text(const struct owner *o, char text[OWNER_TEXT_MAX])
{
    snprintf(text, OWNER_TEXT_MAX, "%08" PRIx32 "-%08" PRIx32 "-%" PRIx32 "-%" PRIx32 "-%" PRIx64,
             owner_host_hash(o), (uint32_t)owner_hash(o->boot_id, sizeof o->boot_id), o->pid_space,
             o->pid, o->start_ticks);
}

enum owner_state owner_text_state(const char *text, uint32_t *pid)
{
    struct owner self;
    struct err unknown = {0};
    uint32_t host, boot, space;
    uint64_t ticks;
    int end = -1;
    *pid = 0;
    if (owner_self(&self, &unknown) < 0 ||
        sscanf(text, "%8" SCNx32 "-%8" SCNx32 "-%8" SCNx32 "-%8" SCNx32 "-%16" SCNx64 "%n", &host,
               &boot, &space, pid, &ticks, &end) != 5 ||
        text[end] != '\0')
        return OWNER_UNKNOWN;
    const struct owner_judged j = {
        .same_host = host != 0 && host == owner_host_hash(&self),
        .same_boot = boot == (uint32_t)owner_hash(self.boot_id, sizeof self.boot_id),
        .same_space = space == self.pid_space,
        .pid = *pid,
        .start_ticks = ticks,
    };
    return owner_judge(&j);
}
