/* SPDX-License-Identifier: Apache-2.0 */
#include "qmp/virt/incoming.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "qmp/virt/mark.h"
#include "qmp/virt/xml.h"

/* ---- the XML ---- */

/* What we have written: the two words, one behind the other. */
#define ARGUMENT XML_DOMAINS "/qemu:commandline/qemu:arg"
#define WORDS                                                                                     \
    ARGUMENT "[@value='-incoming' and following-sibling::qemu:arg[1]/@value='defer'] | " ARGUMENT \
             "[@value='defer' and preceding-sibling::qemu:arg[1]/@value='-incoming']"

static void incoming_strip(xmlDocPtr doc)
{
    CLEANUP_NODES struct xml_nodes args = xml_select(doc, NULL, WORDS);
    for (size_t i = 0; i < args.n; i++)
        xml_remove(args.at[i]);
    CLEANUP_NODES struct xml_nodes lines =
        xml_select(doc, NULL, XML_DOMAINS "/qemu:commandline[not(*)]");
    for (size_t i = 0; args.n > 0 && i < lines.n; i++)
        xml_remove(lines.at[i]);
    virt_mark_strip(doc);
}

int virt_incoming_leftover(const char *xml, struct err *e)
{
    CLEANUP_XML xmlDocPtr doc = xml_parse(xml, "the domain's XML", e);
    if (doc == NULL)
        return -1;
    return (xml_has(doc, NULL, WORDS) ? VIRT_LEFTOVER_ARGUMENTS : 0) |
           (virt_mark_in(doc) ? VIRT_LEFTOVER_MARK : 0);
}

char *virt_incoming_clean(const char *xml, struct err *e)
{
    CLEANUP_XML xmlDocPtr doc = xml_parse(xml, "the domain's XML", e);
    if (doc == NULL)
        return NULL;
    incoming_strip(doc);
    char *text = xml_text(doc);
    if (text == NULL)
        err_set(e, ERR_IO, ENOMEM, "no memory for the domain's XML");
    return text;
}

static void incoming_add(xmlDocPtr doc)
{
    xmlNodePtr root = xmlDocGetRootElement(doc);
    xmlNsPtr ns = xmlSearchNsByHref(doc, root, BAD_CAST XML_QEMU_NAMESPACE);
    if (ns == NULL)
        ns = xmlNewNs(root, BAD_CAST XML_QEMU_NAMESPACE, BAD_CAST "qemu");
    xmlNodePtr line = xml_first(doc, NULL, "/domain/qemu:commandline");
    if (line == NULL)
        line = xmlNewChild(root, ns, BAD_CAST "commandline", NULL);
    static const char *const words[] = {"-incoming", "defer"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        xmlNewProp(xmlNewChild(line, ns, BAD_CAST "arg", NULL), BAD_CAST "value",
                   BAD_CAST words[i]);
}

/* `id`: it is to wait for that migration; NULL: it is not to wait. */
static char *incoming_rewrite(const char *xml, const char *name, const char *id, struct err *e)
{
    CLEANUP_XML xmlDocPtr doc = xml_parse(xml, "the domain's XML", e);
    if (doc == NULL)
        return NULL;
    xmlNodePtr old = xml_first(doc, NULL, "/domain/name");
    if (old == NULL) {
        err_set(e, ERR_PROTO, 0, "the domain's XML has no name");
        return NULL;
    }
    xml_set_text(old, name);
    incoming_strip(doc);
    if (id != NULL) {
        incoming_add(doc);
        virt_mark_add(doc, id);
    }
    char *text = xml_text(doc);
    if (text == NULL)
        err_set(e, ERR_IO, ENOMEM, "no memory for the domain's XML");
    return text;
}

char *virt_incoming_xml(const char *migratable, const char *name, const char *id, struct err *e)
{
    return incoming_rewrite(migratable, name, id, e);
}

char *virt_incoming_definition(const char *inactive, const char *name, struct err *e)
{
    return incoming_rewrite(inactive, name, NULL, e);
}

/* ---- which domains ---- */

/*
 * A file's owner is the reason why files are here only where QEMU runs as root: ending the source
 * makes libvirt give the image back to its owner of before, as it does not know that the guest has
 * moved. Source: libvirt 9.0, src/security/security_dac.c, virSecurityDACRestoreImageLabelInt().
 */
#define QEMU_IS_ROOT "ancestor::domain/seclabel[@model='dac' and label='+0:+0']"

/* What QEMU writes into its log is no part of the guest; a file or so behind a comma could be. */
#define TRACES                                                                               \
    "preceding-sibling::qemu:arg[1]/@value='-trace' and starts-with(@value, 'enable=') and " \
    "not(contains(@value, ','))"

/* The children of <devices> that it has been seen to move; one must hold of each. */
static const char *const proven[] = {
    "self::emulator",
    "self::disk[@type='network' and source/@protocol='nfs' and @device='disk']",
    ("self::disk[@type='file' and (@device='disk' or @device='cdrom') and source and " QEMU_IS_ROOT
     "]"),
    "self::disk[(@device='cdrom' or @device='floppy') and not(source)]",
    ("self::controller[@type='pci' or @type='usb' or @type='ide' or @type='sata' or "
     "@type='scsi' or @type='virtio-serial' or @type='fdc']"),
    "self::interface[@type='bridge' and not(virtualport)]",
    "self::serial[@type='file' or @type='pty' or @type='unix' or @type='null']",
    "self::console[@type='file' or @type='pty' or @type='unix' or @type='null']",
    "self::channel[@type='unix']",
    "self::input[@type='mouse' or @type='tablet' or @type='keyboard']"
    "[@bus='ps2' or @bus='usb' or @bus='virtio']",
    "self::graphics[@type='vnc']",
    /* with 3D, blobs or a process of its own its state is outside of QEMU, in this host's GPU */
    ("self::video[not(driver/@name='vhostuser')][not(model/@blob='on')]"
     "[not(model/acceleration[@accel3d='yes' or @accel2d='yes' or @rendernode])]"),
    "self::audio[@type='none']",
    "self::sound[not(@model='usb' or @model='virtio')]",
    "self::watchdog",
    "self::rng[backend/@model='random']",
    "self::memballoon",
    "self::hub",
};

/* What is elsewhere in a domain; none may be there. */
static const struct {
    const char *xpath, *what;
} unproven[] = {
    {"/domain/os/loader | /domain/os/nvram", "UEFI firmware with its variables"},
    {"/domain/launchSecurity", "memory encryption"},
    {"/domain/memoryBacking/source | /domain/memoryBacking/hugepages", "memory backing of its own"},
    {"/domain/maxMemory | /domain/cpu/numa", "pluggable memory or NUMA nodes"},
    {"/domain/devices/disk/mirror", "a block job"},
    {"/domain/devices/disk/transient", "a transient disk"},
    {"/domain/qemu:commandline/qemu:arg[not(@value='-incoming' or @value='defer' or "
     "@value='-trace' or " TRACES ")]",
     "QEMU arguments of its own"},
    {"/domain/qemu:override", "QEMU device properties of its own"},
};

static int incoming_check_device(xmlDocPtr doc, xmlNodePtr device, struct err *e)
{
    for (size_t i = 0; i < sizeof proven / sizeof *proven; i++)
        if (xml_has(doc, device, proven[i]))
            return 0;
    CLEANUP_FREE char *type = xml_attribute(device, "type");
    return err_set(e, ERR_REFUSED, 0, "its %s%s%s is not among the devices that were proven",
                   (const char *)device->name, type != NULL ? " of type " : "",
                   type != NULL ? type : "");
}

int virt_incoming_check(const char *live, struct err *e)
{
    CLEANUP_XML xmlDocPtr doc = xml_parse(live, "the domain's XML", e);
    if (doc == NULL)
        return -1;
    for (size_t i = 0; i < sizeof unproven / sizeof *unproven; i++)
        if (xml_has(doc, NULL, unproven[i].xpath))
            return err_set(e, ERR_REFUSED, 0, "it has %s", unproven[i].what);
    CLEANUP_NODES struct xml_nodes devices = xml_select(doc, NULL, "/domain/devices/*");
    for (size_t i = 0; i < devices.n; i++)
        if (incoming_check_device(doc, devices.at[i], e) < 0)
            return -1;
    return 0;
}
