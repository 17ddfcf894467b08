/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cmd/own_libvirt.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"

bool own_libvirt_has_system(void)
{
    return access("/run/libvirt/libvirt-sock", F_OK) == 0 ||
           access("/run/libvirt/virtqemud-sock", F_OK) == 0;
}

bool own_libvirt_has_session(void)
{
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    CLEANUP_FREE char *path = NULL;
    bool given = config != NULL && *config != '\0';
    if (!given && home == NULL)
        return false;
    if (asprintf(&path, "%s%s/libvirt/qemu", given ? config : home, given ? "" : "/.config") < 0)
        return true;
    return access(path, F_OK) == 0;
}

/* Whether process `pid` is such a daemon. A container's has other mounts, and so other files. */
static bool own_is_daemon(const char *pid, const char *mounts)
{
    char path[64], comm[32] = "", its_mounts[64] = "";
    struct stat st;
    snprintf(path, sizeof path, "/proc/%.10s/comm", pid);
    CLEANUP_FCLOSE FILE *f = fopen(path, "re");
    if (f == NULL || fgets(comm, sizeof comm, f) == NULL ||
        (strcmp(comm, "libvirtd\n") != 0 && strcmp(comm, "virtqemud\n") != 0))
        return false;
    snprintf(path, sizeof path, "/proc/%.10s", pid);
    if (stat(path, &st) < 0 || st.st_uid != 0)
        return false;
    snprintf(path, sizeof path, "/proc/%.10s/ns/mnt", pid);
    return readlink(path, its_mounts, sizeof its_mounts - 1) < 0 || strcmp(its_mounts, mounts) == 0;
}

pid_t own_libvirt_daemon(void)
{
    char mounts[64] = "";
    pid_t found = 0;
    DIR *proc = opendir("/proc");
    if (readlink("/proc/self/ns/mnt", mounts, sizeof mounts - 1) < 0)
        *mounts = '\0';
    for (struct dirent *d = proc != NULL ? readdir(proc) : NULL; d != NULL && found == 0;
         d = readdir(proc))
        if (isdigit((unsigned char)*d->d_name) && own_is_daemon(d->d_name, mounts))
            found = (pid_t)atol(d->d_name);
    if (proc != NULL)
        closedir(proc);
    return found;
}
