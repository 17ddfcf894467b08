/* SPDX-License-Identifier: Apache-2.0 */
#include "qmp/virt/domain.h"

#include <errno.h>
#include <libvirt/virterror.h>
#include <stdio.h>
#include <string.h>

#include "core/text.h"

int virt_domain_find(struct virt_host *h, const char *name_or_uuid, struct virt_domain *d,
                     struct err *e)
{
    CLEANUP_CONNECTION virConnectPtr conn = virt_host_connection(h, e);
    if (conn == NULL)
        return -1;
    CLEANUP_DOMAIN virDomainPtr dom = virDomainLookupByName(conn, name_or_uuid);
    if (dom == NULL && virt_last_error_is(VIR_ERR_NO_DOMAIN))
        dom = virDomainLookupByUUIDString(conn, name_or_uuid);
    if (dom == NULL) {
        if (!virt_last_error_is(VIR_ERR_NO_DOMAIN) && !virt_last_error_is(VIR_ERR_INVALID_ARG))
            return virt_host_fail(h, e, "cannot look up the domain");
        err_set(e, ERR_REFUSED, 0, "%s: there is no domain '%s' at %s", virt_host_role(h),
                name_or_uuid, virt_host_uri(h));
        return err_hint(e, "'virsh -c %s list --all' lists them", virt_host_uri(h));
    }
    *d = (struct virt_domain){.host = h};
    d->name = text_keep("%s", virDomainGetName(dom));
    virt_host_keep_handle(h, dom);
    if (virDomainGetUUIDString(dom, d->uuid) < 0)
        return virt_host_fail(h, e, "the domain has no UUID");
    return 0;
}

virDomainPtr virt_domain_get(const struct virt_domain *d, struct err *e)
{
    CLEANUP_CONNECTION virConnectPtr conn = virt_host_connection(d->host, e);
    if (conn == NULL)
        return NULL;
    virDomainPtr dom = virDomainLookupByUUIDString(conn, d->uuid);
    if (dom == NULL)
        virt_host_fail(d->host, e, d->name);
    else
        virt_host_keep_handle(d->host, dom);
    return dom;
}

virDomainPtr virt_domain_handle(const struct virt_domain *d, struct err *e)
{
    CLEANUP_CONNECTION virConnectPtr conn = virt_host_connection(d->host, e);
    if (conn == NULL)
        return NULL;
    virDomainPtr dom = virt_host_handle(d->host, conn, d->uuid);
    return dom != NULL ? dom : virt_domain_get(d, e);
}

int virt_domain_active(const struct virt_domain *d, struct err *e)
{
    CLEANUP_DOMAIN virDomainPtr dom = virt_domain_handle(d, e);
    if (dom == NULL) {
        if (e->sys != ENOENT)
            return -1;
        err_clear(e);
        return 0;
    }
    int active = virDomainIsActive(dom);
    if (active >= 0)
        return active;
    if (virt_last_error_is(VIR_ERR_NO_DOMAIN)) /* it is not there (any more) */
        return 0;
    return virt_host_fail(d->host, e, d->name);
}

int virt_domain_instance(const struct virt_domain *d, struct err *e)
{
    CLEANUP_DOMAIN virDomainPtr dom = virt_domain_get(d, e);
    if (dom != NULL)
        return (int)virDomainGetID(
            dom); /* as it was looked up: (unsigned)-1 where it does not run */
    if (e->sys == ENOENT)
        err_clear(e);
    return -1;
}

char *virt_domain_xml(const struct virt_domain *d, unsigned flags, struct err *e)
{
    CLEANUP_DOMAIN virDomainPtr dom = virt_domain_handle(d, e);
    if (dom == NULL)
        return NULL;
    char *xml = virDomainGetXMLDesc(dom, VIR_DOMAIN_XML_SECURE | flags);
    if (xml == NULL)
        virt_host_fail(d->host, e, "cannot read the domain's XML");
    return xml;
}

int virt_domain_get_active(const struct virt_domain *d, virDomainPtr *dom, struct err *e)
{
    int active = virt_domain_active(d, e);
    if (active > 0 && (*dom = virt_domain_handle(d, e)) == NULL)
        return -1;
    return active;
}

int virt_domain_destroy(const struct virt_domain *d, struct err *e)
{
    CLEANUP_DOMAIN virDomainPtr dom = virt_domain_handle(d, e);
    if (dom == NULL) {
        if (e->sys != ENOENT)
            return -1;
        err_clear(e);
        return 0;
    }
    if (virDomainDestroy(dom) == 0 || virt_last_error_is(VIR_ERR_NO_DOMAIN) ||
        virt_last_error_is(VIR_ERR_OPERATION_INVALID)) /* it does not run (any more) */
        return 0;
    return virt_host_fail(d->host, e, "cannot end the domain");
}
