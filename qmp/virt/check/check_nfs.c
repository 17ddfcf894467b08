/* SPDX-License-Identifier: Apache-2.0 */
/* What libvirt's side knows of disks on NFS servers: which, as whom, and whether a host's QEMU can
 * write there. The server itself is asked by nfs/, not from here. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "qmp/virt/check/check_run.h"
#include "qmp/virt/disk.h"

int virt_check_qemu_user(struct virt_host *h, int64_t *uid, int64_t *gid, struct err *e)
{
    CLEANUP_CONNECTION virConnectPtr conn = virt_host_connection(h, e);
    if (conn == NULL)
        return -1;
    CLEANUP_FREE char *text = virConnectGetCapabilities(conn);
    if (text == NULL)
        return virt_host_fail(h, e, "cannot read the host's capabilities");
    CLEANUP_XML xmlDocPtr doc = xml_parse(text, "the capabilities", e);
    if (doc == NULL)
        return -1;
    CLEANUP_FREE char *label =
        xml_value(doc, NULL, "/capabilities/host/secmodel[model='dac']/baselabel[@type='kvm']");
    unsigned u, g;
    if (label == NULL || sscanf(label, "+%u:+%u", &u, &g) != 2)
        return err_set(e, ERR_VIRT, 0, "%s: libvirt does not report which user QEMU runs as",
                       virt_host_role(h));
    *uid = u;
    *gid = g;
    return 0;
}

int virt_check_nfs_disks(const struct virt_domain *d, struct virt_nfs_disk *at, size_t max,
                         struct err *e)
{
    int64_t uid, gid;
    size_t n = 0;
    CLEANUP_FREE char *text = virt_domain_xml(d, 0, e);
    CLEANUP_XML xmlDocPtr doc = text != NULL ? xml_parse(text, d->name, e) : NULL;
    if (doc == NULL || virt_check_qemu_user(d->host, &uid, &gid, e) < 0)
        return -1;
    CLEANUP_NODES struct xml_nodes disks =
        xml_select(doc, NULL, "/domain/devices/disk[source/@protocol='nfs']");
    for (size_t i = 0; i < disks.n && n < max; i++) {
        struct virt_disk disk;
        virt_disk_of_node(doc, disks.at[i], &disk);
        at[n] = (struct virt_nfs_disk){.uid = disk.uid >= 0 ? disk.uid : uid,
                                       .gid = disk.gid >= 0 ? disk.gid : gid};
        snprintf(at[n].target, sizeof at[n].target, "%s", disk.target);
        at[n].server = disk.host;
        at[n].path = disk.path;
        n++;
    }
    return (int)n;
}

int virt_check_make_image(struct virt_host *h, const char *server, const char *path, int64_t uid,
                          int64_t gid, struct err *e)
{
    struct shell s;
    char said[600];
    virt_host_shell(virt_host_uri(h), &s);
    const char *url = text_keep("nfs://%s%s?uid=%lld&gid=%lld", text_url_host(server), path,
                                (long long)uid, (long long)gid);
    const char *script = text_keep("command -v qemu-img >/dev/null || exit 127; "
                                   "timeout 15 qemu-img create -q -f raw %s 512",
                                   text_shell_word(url));
    int status = shell_run(&s, script, said, sizeof said, CHECK_SHELL_NS, e);
    shell_close(&s);
    if (status < 0) {
        e->class = ERR_LOST;
        return -1;
    }
    if (status == 127)
        return err_set(e, ERR_LOST, 0, "there is no qemu-img to try it with");
    if (status != 0 && strstr(said, "Unknown protocol") != NULL)
        return err_set(e, ERR_LOST, 0, "its qemu-img has no NFS driver (package qemu-block-extra)");
    return status == 0 ? 0 : err_set(e, ERR_REFUSED, 0, "%s", said);
}
