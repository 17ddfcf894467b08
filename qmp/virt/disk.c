/* SPDX-License-Identifier: Apache-2.0 */
#include "qmp/virt/disk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

static const char *const type_names[] = {
    [VIRT_DISK_FILE] = "file",     [VIRT_DISK_BLOCK] = "block", [VIRT_DISK_NETWORK] = "network",
    [VIRT_DISK_VOLUME] = "volume", [VIRT_DISK_NVME] = "nvme",
};

static void disk_take(xmlDocPtr doc, xmlNodePtr node, const char *xpath, char *to, size_t room)
{
    CLEANUP_FREE char *value = xml_value(doc, node, xpath);
    if (value != NULL)
        snprintf(to, room, "%s", value);
}

static const char *disk_text(xmlDocPtr doc, xmlNodePtr node, const char *xpath)
{
    CLEANUP_FREE char *value = xml_value(doc, node, xpath);
    return value != NULL ? text_keep("%s", value) : "";
}

static int64_t disk_id(xmlDocPtr doc, xmlNodePtr node, const char *xpath)
{
    CLEANUP_FREE char *value = xml_value(doc, node, xpath);
    const char *digits = value != NULL && *value == '+' ? value + 1 : value;
    char *end = NULL;
    if (digits == NULL || *digits < '0' || *digits > '9')
        return -1;
    long long id = strtoll(digits, &end, 10);
    return *end == '\0' ? id : -1;
}

static enum virt_disk_type disk_type(xmlNodePtr node)
{
    CLEANUP_FREE char *name = xml_attribute(node, "type");
    for (int t = VIRT_DISK_FILE; name != NULL && t < VIRT_DISK_OTHER; t++)
        if (strcmp(name, type_names[t]) == 0)
            return (enum virt_disk_type)t;
    return VIRT_DISK_OTHER;
}

void virt_disk_of_node(xmlDocPtr doc, xmlNodePtr node, struct virt_disk *d)
{
    *d = (struct virt_disk){.type = disk_type(node), .cache = "default", .device = "disk"};
    disk_take(doc, node, "target/@dev", d->target, sizeof d->target);
    disk_take(doc, node, "@device", d->device, sizeof d->device);
    disk_take(doc, node, "driver/@cache", d->cache, sizeof d->cache);
    d->path = disk_text(doc, node, "source/@file|source/@dev|source/@name|source/@dir");
    d->pool = disk_text(doc, node, "source/@pool");
    d->volume = disk_text(doc, node, "source/@volume");
    d->protocol = disk_text(doc, node, "source/@protocol");
    d->host = disk_text(doc, node, "source/host[1]/@name");
    d->uid = disk_id(doc, node, "source/identity/@user");
    d->gid = disk_id(doc, node, "source/identity/@group");
    d->readonly = xml_has(doc, node, "readonly");
    d->shareable = xml_has(doc, node, "shareable");
    d->transient = xml_has(doc, node, "transient");
    if (!xml_has(doc, node, "source") ||
        ((d->type == VIRT_DISK_FILE || d->type == VIRT_DISK_BLOCK) && d->path[0] == '\0'))
        d->type = VIRT_DISK_EMPTY;
}

bool virt_disk_is_safe(const struct virt_disk *d, enum file_system fs, bool drop_cache,
                       const char **why)
{
    *why = "";
    if (d->type == VIRT_DISK_EMPTY || d->readonly || d->type == VIRT_DISK_NETWORK)
        return true;
    if (d->type == VIRT_DISK_FILE && fs == FILE_SYSTEM_CLUSTER)
        return true;
    if (d->type == VIRT_DISK_FILE && fs == FILE_SYSTEM_LOCAL)
        *why = "it is a file on a file system that is not shared, for all that libvirt knows";
    else if (d->type == VIRT_DISK_FILE && fs == FILE_SYSTEM_UNKNOWN)
        *why = "it is a file, and it is not known whether its file system is shared";
    else if (d->type == VIRT_DISK_NVME)
        *why = "it is an NVMe drive of this host";
    if (**why != '\0')
        return false;
    if (d->shareable || strcmp(d->cache, "none") == 0 || strcmp(d->cache, "directsync") == 0 ||
        drop_cache)
        return true;
    *why = "its cache mode is neither none nor directsync, and this QEMU does not drop its cache";
    return false;
}
