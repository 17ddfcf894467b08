/* SPDX-License-Identifier: Apache-2.0 */
/* Devices and states of a domain that keep it where it is. */
#include <libvirt/virterror.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qmp/virt/check/check_run.h"

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

/*
 * Source: libvirt, src/qemu/qemu_migration.c, qemuMigrationSrcIsAllowed(),
 * qemuMigrationSrcIsAllowedHostdev(); QEMU, migrate_add_blocker() and vmstate .unmigratable.
 */
static const struct {
    enum check_verdict verdict;
    const char *xpath;
    const char *what;
    const char *sentence;
    const char *name; /* XPath from the node: which one, or NULL */
} blockers[] = {
    {CHECK_REFUSE, "hostdev[@mode='subsystem'][@type='pci'][not(teaming/@type='transient')]",
     "host device", "the guest uses a PCI device of this host, which cannot migrate",
     "alias/@name"},
    {CHECK_REFUSE, "hostdev[@mode='subsystem'][@type='mdev']", "host device",
     "the guest uses a mediated device of this host, which cannot migrate", "alias/@name"},
    {CHECK_REFUSE, "hostdev[@mode='subsystem'][@type='scsi' or @type='scsi_host']", "host device",
     "the guest uses a SCSI device of this host, which cannot migrate", "alias/@name"},
    {CHECK_REFUSE, "hostdev[@mode='capabilities']", "host device",
     "the guest uses a device of this host, which cannot migrate", "alias/@name"},
    {CHECK_WARN, "hostdev[@mode='subsystem'][@type='usb']", "host device",
     "the guest uses a USB device of this host, and will see it unplugged", "alias/@name"},
    {CHECK_REFUSE, "interface[@type='hostdev'][not(teaming/@type='transient')]", "host device",
     "the guest uses a network card of this host, which cannot migrate", "mac/@address"},
    {CHECK_REFUSE, "interface[@type='vdpa']", "host device",
     "the guest uses a vDPA device, which cannot migrate", "mac/@address"},
    {CHECK_REFUSE, "disk[transient]", "transient disk",
     "what is written to it is discarded, and until then is on this host only", "target/@dev"},
    {CHECK_REFUSE, "shmem[not(@role='master')]", "shared memory",
     "other guests of this host share it", "@name"},
    {CHECK_REFUSE, "filesystem[driver/@type='virtiofs']", "virtiofs",
     "the state of its virtiofsd is on this host", "target/@dir"},
    {CHECK_REFUSE, "filesystem[not(driver/@type='virtiofs')]", "9p",
     "QEMU does not migrate a guest that has such a file system mounted", "target/@dir"},
    {CHECK_REFUSE, "tpm/backend[@type='passthrough']", "TPM", "it is this host's own TPM",
     "device/@path"},
    {CHECK_WARN, "memory[@model='nvdimm']", "NVDIMM", "its file must be on shared storage",
     "source/path"},
    {CHECK_WARN,
     "serial[@type='dev']|parallel[@type='dev']|console[@type='dev']|channel[@type='dev']",
     "host device",
     "the guest uses a device node of this host: QEMU opens the one of that name on the destination",
     "source/@path"},
    {CHECK_REFUSE, "input[@type='passthrough']", "host device",
     "the guest uses an input device of this host, which cannot migrate", "source/@evdev"},
    {CHECK_WARN, "input[@type='evdev']", "host device",
     "the guest gets input from this host: QEMU opens the device of that name on the destination",
     "source/@dev"},
    {CHECK_REFUSE, "video[model/acceleration/@accel3d='yes']", "3D video",
     "its state is in this host's GPU, and QEMU does not migrate that", "alias/@name"},
    {CHECK_REFUSE, "video[driver/@name='vhostuser']", "vhost-user video",
     "the state of its process is on this host, and QEMU does not migrate that", "alias/@name"},
    {CHECK_WARN, "video[model/@blob='on']", "video with blobs",
     "QEMU migrates them only in newer versions", "alias/@name"},
    {CHECK_REFUSE, "sound[@model='usb']", "USB sound", "QEMU does not migrate it", "alias/@name"},
    {CHECK_WARN, "interface[@type='vhostuser']|disk[@type='vhostuser']", "vhost-user",
     "its socket must exist on the destination, too", "source/@path"},
};

static void device_fix(const char *what, const char *name, const char *uri, const char *domain,
                       struct check_list *l)
{
    if (strcmp(what, "transient disk") == 0)
        check_list_fix(l, "virt-xml -c %s %s --edit target=%s --disk transient=no", uri, domain,
                       name);
    else if (strcmp(what, "host device") == 0 && strncmp(name, "hostdev", 7) == 0)
        check_list_fix(l, "virsh -c %s detach-device-alias --live %s %s", uri, domain, name);
    else if (strcmp(what, "host device") == 0 && strchr(name, ':') != NULL)
        check_list_fix(l, "virsh -c %s detach-interface --live %s hostdev --mac %s", uri, domain,
                       name);
    else
        check_list_fix(l, "virsh -c %s edit %s", uri, domain);
}

static void devices_listed(xmlDocPtr doc, const char *uri, const char *domain, struct check_list *l)
{
    for (size_t i = 0; i < COUNT(blockers); i++) {
        xmlNodePtr devices = xml_first(doc, NULL, "/domain/devices");
        if (devices == NULL)
            return;
        CLEANUP_NODES struct xml_nodes found = xml_select(doc, devices, blockers[i].xpath);
        for (size_t k = 0; k < found.n; k++) {
            char what[80];
            CLEANUP_FREE char *name = xml_value(doc, found.at[k], blockers[i].name);
            const char *shown = name != NULL ? name : "unnamed";
            snprintf(what, sizeof what, "%s %s", blockers[i].what, shown);
            check_list_add(l, blockers[i].verdict, what, "%s", blockers[i].sentence);
            device_fix(blockers[i].what, shown, uri, domain, l);
        }
    }
}

void check_devices_of_xml(xmlDocPtr doc, const char *uri, struct check_list *l)
{
    size_t before = l->n;
    CLEANUP_FREE char *name = xml_value(doc, NULL, "/domain/name");
    const char *domain = name != NULL ? name : "DOMAIN";
    devices_listed(doc, uri, domain, l);
    if (xml_has(doc, NULL, "/domain/cpu/feature[@name='invtsc'][@policy='require']") &&
        !xml_has(doc, NULL, "/domain/clock/timer[@name='tsc'][@frequency]")) {
        check_list_add(l, CHECK_REFUSE, "CPU feature invtsc",
                       "libvirt cannot migrate an invariant TSC without its frequency in the XML");
        check_list_fix(l, "virt-xml -c %s %s --edit --cpu invtsc=disable", uri, domain);
    }
    /* what an earlier direct migration has left is check_leftover()'s */
    if (xml_has(doc, NULL,
                "/domain/qemu:commandline/*[not(@value='-incoming' or @value='defer')]")) {
        check_list_add(l, CHECK_WARN, "QEMU arguments",
                       "the XML passes arguments to QEMU; godwit does not know what they need on "
                       "the destination");
        check_list_fix(l, "virsh -c %s dumpxml %s | grep qemu:arg", uri, domain);
    }
    if (l->n == before)
        check_list_add(l, CHECK_OK, "devices", "none of the devices blocks a migration");
}

void check_devices(struct check_run *r)
{
    check_devices_of_xml(r->xml, r->from.uri, r->l);
}

/* ---- snapshots, and what is under way ---- */

void check_snapshots(struct check_run *r)
{
    static const char what[] = "snapshots";
    int n = virDomainSnapshotNum(r->dom, 0);
    if (n < 0) {
        check_skip(r, &r->from, what, "cannot count the snapshots");
    } else if (n > 0) {
        check_list_add(r->l, CHECK_REFUSE, what,
                       "the domain has %d, and libvirt does not migrate a domain with snapshots",
                       n);
        check_list_fix(r->l,
                       "for s in $(virsh -c %s snapshot-list --name %s); do virsh -c %s "
                       "snapshot-delete --metadata %s $s; done",
                       r->from.uri, r->domain->name, r->from.uri, r->domain->name);
    } else {
        check_list_add(r->l, CHECK_OK, what, "the domain has none");
    }
    n = virDomainListAllCheckpoints(r->dom, NULL, 0);
    if (n > 0) {
        check_list_add(r->l, CHECK_WARN, "checkpoints",
                       "the domain has %d: the destination's libvirt will not have them", n);
        check_list_fix(r->l, "virsh -c %s checkpoint-list %s", r->from.uri, r->domain->name);
    }
}

static bool jobs_of_blocks(struct check_run *r)
{
    bool any = false;
    CLEANUP_NODES struct xml_nodes disks =
        xml_select(r->xml, NULL, "/domain/devices/disk/target/@dev");
    for (size_t i = 0; i < disks.n; i++) {
        virDomainBlockJobInfo info;
        CLEANUP_FREE char *target = xml_value(r->xml, disks.at[i], ".");
        if (target == NULL || virDomainGetBlockJobInfo(r->dom, target, &info, 0) != 1)
            continue;
        any = true;
        check_list_add(r->l, CHECK_REFUSE, "jobs", "a block job on disk %s is under way", target);
        check_list_fix(r->l, "virsh -c %s blockjob %s %s --abort", r->from.uri, r->domain->name,
                       target);
    }
    return any;
}

void check_jobs(struct check_run *r)
{
    virDomainJobInfo info;
    if (!r->active)
        return;
    if (virDomainGetJobInfo(r->dom, &info) < 0) {
        check_skip(r, &r->from, "jobs", "cannot read the domain's job");
        return;
    }
    bool blocks = jobs_of_blocks(r);
    if (info.type != VIR_DOMAIN_JOB_NONE && info.type != VIR_DOMAIN_JOB_COMPLETED) {
        check_list_add(r->l, CHECK_REFUSE, "jobs",
                       "a job of the domain is under way: a migration, a backup or a dump");
        check_list_fix(r->l, "virsh -c %s domjobabort %s", r->from.uri, r->domain->name);
    } else if (!blocks) {
        check_list_add(r->l, CHECK_OK, "jobs", "none is under way");
    }
}
