/* SPDX-License-Identifier: Apache-2.0 */
/* A storage pool whose images are to go to a share. */
#include <libvirt/virterror.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "core/units.h"
#include "qmp/virt/check/check_run.h"

static void pool_count(virStoragePoolPtr pool, struct virt_pool_facts *f)
{
    virStorageVolPtr *volumes = NULL;
    int n = virStoragePoolListAllVolumes(pool, &volumes, 0);
    for (int i = 0; i < n; i++) {
        virStorageVolInfo info;
        if (virStorageVolGetInfo(volumes[i], &info) == 0) {
            f->images++;
            f->allocated_bytes += info.allocation;
            f->capacity_bytes += info.capacity;
        }
        virStorageVolFree(volumes[i]);
    }
    free(volumes);
}

/* Of a pool that is a mount, from its XML: what it asks for. */
static void pool_options(xmlDocPtr doc, const char *what, struct check_list *l)
{
    CLEANUP_FREE char *server = xml_value(doc, NULL, "/pool/source/host/@name");
    CLEANUP_FREE char *dir = xml_value(doc, NULL, "/pool/source/dir/@path");
    CLEANUP_FREE char *version = xml_value(doc, NULL, "/pool/source/protocol/@ver");
    char asked[300] = "";
    CLEANUP_NODES struct xml_nodes options =
        xml_select(doc, NULL, "/pool/*[local-name()='mount_opts']/*/@name");
    for (size_t i = 0; i < options.n; i++) {
        CLEANUP_FREE char *one = xml_value(doc, options.at[i], ".");
        size_t n = strlen(asked);
        snprintf(asked + n, sizeof asked - n, "%s%s", n > 0 ? "," : "", one != NULL ? one : "");
    }
    check_list_add(l, strstr(asked, "soft") != NULL ? CHECK_REFUSE : CHECK_OK, what,
                   "%s:%s, vers=%s, options: %s", server != NULL ? server : "?",
                   dir != NULL ? dir : "?", version != NULL ? version : "as negotiated",
                   asked[0] != '\0' ? asked : "the system's defaults");
    if (strstr(asked, "soft") != NULL)
        check_list_fix(l, "virsh pool-edit POOL  # hard instead of soft: else a slow server makes "
                          "the guest's writes fail");
}

/* What the kernel has really mounted there. */
static void pool_mount(struct virt_host *h, const char *target, struct check_list *l)
{
    struct shell s;
    struct err e = {0};
    char script[PATH_MAX + 100], said[600];
    virt_host_shell(virt_host_uri(h), &s);
    snprintf(script, sizeof script, "findmnt -n -o FSTYPE,SOURCE,OPTIONS -T %s",
             text_shell_word(target));
    int status = shell_run(&s, script, said, sizeof said, CHECK_SHELL_NS, &e);
    shell_close(&s);
    if (status != 0) {
        check_list_add(l, CHECK_SKIPPED, "pool: mount options", "%s: %s", target,
                       status < 0 ? e.msg : said);
        return;
    }
    bool nfs = strncmp(said, "nfs", 3) == 0;
    bool soft = nfs && (strstr(said, ",soft") != NULL || strstr(said, ",softerr") != NULL);
    check_list_add(l, soft ? CHECK_REFUSE : CHECK_OK, "pool: mount options", "%s is on %s", target,
                   said);
    if (soft)
        check_list_fix(l, "mount -o remount,hard %s", target);
}

static int pool_look(struct virt_host *h, virStoragePoolPtr pool, struct virt_pool_facts *f,
                     struct check_list *l, struct err *e)
{
    char what[80], size[UNITS_TEXT_MAX];
    const char *name = virStoragePoolGetName(pool);
    CLEANUP_FREE char *text = virStoragePoolGetXMLDesc(pool, 0);
    if (text == NULL)
        return virt_host_fail(h, e, "cannot read the pool's XML");
    CLEANUP_XML xmlDocPtr doc = xml_parse(text, name, e);
    if (doc == NULL)
        return -1;
    CLEANUP_FREE char *type = xml_value(doc, NULL, "/pool/@type");
    CLEANUP_FREE char *target = xml_value(doc, NULL, "/pool/target/path");
    snprintf(f->type, sizeof f->type, "%s", type != NULL ? type : "?");
    snprintf(what, sizeof what, "pool %.60s", name);
    if (virStoragePoolIsActive(pool) != 1)
        return 1;
    pool_count(pool, f);
    check_list_add(l, CHECK_OK, what, "type %s, %llu images, %s allocated", f->type,
                   (unsigned long long)f->images, units_format_size(size, f->allocated_bytes));
    if (strcmp(f->type, "netfs") == 0)
        pool_options(doc, what, l);
    if (target != NULL && (strcmp(f->type, "netfs") == 0 || strcmp(f->type, "dir") == 0))
        pool_mount(h, target, l);
    return 1;
}

int virt_check_pool(struct virt_host *h, const char *name_or_uuid, struct virt_pool_facts *facts,
                    struct check_list *l, struct err *e)
{
    *facts = (struct virt_pool_facts){0};
    CLEANUP_CONNECTION virConnectPtr conn = virt_host_connection(h, e);
    if (conn == NULL)
        return -1;
    virStoragePoolPtr pool = virStoragePoolLookupByName(conn, name_or_uuid);
    if (pool == NULL && virt_last_error_is(VIR_ERR_NO_STORAGE_POOL))
        pool = virStoragePoolLookupByUUIDString(conn, name_or_uuid);
    if (pool == NULL)
        return virt_last_error_is(VIR_ERR_NO_STORAGE_POOL) ||
                       virt_last_error_is(VIR_ERR_INVALID_ARG)
                   ? 0
                   : virt_host_fail(h, e, "cannot look up the pool");
    int rc = pool_look(h, pool, facts, l, e);
    virStoragePoolFree(pool);
    return rc;
}
