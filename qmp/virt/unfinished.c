/* SPDX-License-Identifier: Apache-2.0 */
#include "qmp/virt/unfinished.h"

#include <libvirt/libvirt-qemu.h>
#include <stdlib.h>
#include <string.h>

#include "core/json.h"

/* A state that this QEMU's migration stays in: none goes on. All other words, new ones, too, are of one
 * that does. */
bool virt_migration_is_over(const char *status)
{
    static const char *const over[] = {"none", "completed", "cancelled", "failed"};
    for (size_t i = 0; i < sizeof over / sizeof *over; i++)
        if (strcmp(status, over[i]) == 0)
            return true;
    return false;
}

enum virt_left virt_left_is(const char *source_run, const char *source_migration, const char *there)
{
    bool absent = there == NULL, unknown = !absent && there[0] == '\0';
    bool waits = !absent && strcmp(there, "inmigrate") == 0;
    bool runs = !absent && strcmp(there, "running") == 0;
    if (strcmp(source_migration, "pre-switchover") ==
        0) /* to cancel it lets the guest go on here */
        return runs ? VIRT_LEFT_RUNS_THERE : unknown ? VIRT_LEFT_UNKNOWN : VIRT_LEFT_AT_GATE;
    if (strcmp(source_run, "postmigrate") == 0)
        return absent    ? VIRT_LEFT_SENT
               : unknown ? VIRT_LEFT_UNKNOWN
               : runs    ? VIRT_LEFT_MOVED
               : waits   ? VIRT_LEFT_LOADING
                         : VIRT_LEFT_LOADED;
    if (absent)
        return VIRT_LEFT_NOTHING; /* another one's migration is match_facts()'s to tell */
    if (unknown)
        return VIRT_LEFT_UNKNOWN;
    if (waits)
        return virt_migration_is_over(source_migration) ? VIRT_LEFT_WAITING : VIRT_LEFT_UNDER_WAY;
    if (strcmp(source_run, "running") == 0)
        return runs ? VIRT_LEFT_TWICE : VIRT_LEFT_COPY;
    return runs ? VIRT_LEFT_RUNS_THERE : VIRT_LEFT_UNKNOWN;
}

char *virt_left_ask(virDomainPtr dom, const char *command)
{
    char *reply = NULL;
    if (virDomainQemuMonitorCommand(dom, command, &reply, 0) < 0)
        return NULL;
    struct err none = {0};
    CLEANUP_JSON struct json *answer = json_from_text(reply);
    const char *status = NULL;
    free(reply);
    if (json_find_text_opt(answer, "return.status", &status, &none) < 0)
        return NULL;
    if (status == NULL && json_is_object(json_find(answer, "return")))
        status = "none";
    return status != NULL ? strdup(status) : NULL;
}
