/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * The element is <migration id='…' owner='…' host='…' title='…'/>, under a namespace of ours; the owner
 * is a text of core/owner.h, and of a mark that an older godwit has set it is not there. `title` is there while the
 * domain's own title is covered by ours, and holds the former one, "" where there was none: whoever
 * takes the mark away puts that back. The destination's domain gets its mark with the XML that it is
 * made from, so that there is no moment in which it is ours and does not say so.
 */
#include "qmp/virt/mark.h"

#include <errno.h>
#include <libvirt/virterror.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "core/log.h"
#include "core/text.h"

#define MARK_PREFIX "godwit"
#define MARK_XPATH                                                                               \
    XML_DOMAINS "/metadata/*[local-name()='migration' and namespace-uri()='" VIRT_MARK_NAMESPACE \
                "']"

void virt_mark_draw(char id[VIRT_UUID_TEXT])
{
    unsigned char b[16];
    if (getrandom(b, sizeof b, 0) != sizeof b)
        abort(); /* getrandom(2): up to 256 bytes are whole once the pool is ready */
    snprintf(id, VIRT_UUID_TEXT,
             "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
             b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
             b[15]);
}

/* ---- of a running domain ---- */

/* The mark's element of a running domain; NULL: it has none. */
static xmlDocPtr mark_get(virDomainPtr dom)
{
    struct err none = {0};
    CLEANUP_FREE char *text = virDomainGetMetadata(dom, VIR_DOMAIN_METADATA_ELEMENT,
                                                   VIRT_MARK_NAMESPACE, VIR_DOMAIN_AFFECT_LIVE);
    return text != NULL ? xml_parse(text, "the mark", &none) : NULL;
}

/* The same of a domain that may have ended: 1; 0: it has no mark, or does not run; -1: libvirt does not answer. */
static int mark_look(const struct virt_domain *d, virDomainPtr *dom, xmlDocPtr *doc, struct err *e)
{
    *dom = virt_domain_handle(d, e);
    if (*dom == NULL) {
        if (e->sys != ENOENT)
            return -1;
        err_clear(e);
        return 0;
    }
    *doc = mark_get(*dom);
    if (*doc != NULL)
        return 1;
    if (virt_last_error_is(VIR_ERR_NO_DOMAIN_METADATA) ||
        virt_last_error_is(VIR_ERR_OPERATION_INVALID) || virt_last_error_is(VIR_ERR_NO_DOMAIN))
        return 0;
    return virt_host_fail(d->host, e, "cannot read the domain's metadata");
}

static int mark_title(virDomainPtr dom, const char *title)
{
    return virDomainSetMetadata(dom, VIR_DOMAIN_METADATA_TITLE, title, NULL, NULL,
                                VIR_DOMAIN_AFFECT_LIVE);
}

/* Who we are; where that is not known the mark does not tell. */
static void mark_sign(xmlNodePtr mark)
{
    struct owner self;
    struct err unknown = {0};
    char text[OWNER_TEXT_MAX];
    if (owner_self(&self, &unknown) < 0)
        return;
    owner_text(&self, text);
    xmlNewProp(mark, BAD_CAST "owner", BAD_CAST text);
    xmlNewProp(mark, BAD_CAST "host", BAD_CAST self.host);
}

static char *mark_element(const char *id, const char *covered)
{
    CLEANUP_XML xmlDocPtr doc = xmlNewDoc(BAD_CAST "1.0");
    xmlNodePtr root = xmlNewNode(NULL, BAD_CAST "migration");
    xmlDocSetRootElement(doc, root);
    xmlNewProp(root, BAD_CAST "id", BAD_CAST id);
    mark_sign(root);
    xmlNewProp(root, BAD_CAST "title", BAD_CAST covered);
    return xml_text(doc);
}

static int mark_set_element(virDomainPtr dom, const char *element)
{
    return virDomainSetMetadata(dom, VIR_DOMAIN_METADATA_ELEMENT, element, MARK_PREFIX,
                                VIRT_MARK_NAMESPACE, VIR_DOMAIN_AFFECT_LIVE);
}

int virt_mark_owner(virDomainPtr dom, struct virt_mark_owner *o)
{
    *o = (struct virt_mark_owner){.host = "", .state = OWNER_UNKNOWN};
    CLEANUP_XML xmlDocPtr doc = mark_get(dom);
    if (doc == NULL)
        return 0;
    CLEANUP_FREE char *text = xml_attribute(xmlDocGetRootElement(doc), "owner");
    CLEANUP_FREE char *host = xml_attribute(xmlDocGetRootElement(doc), "host");
    CLEANUP_FREE char *covered = xml_attribute(xmlDocGetRootElement(doc), "title");
    if (covered != NULL)
        o->covered = text_keep("%s", covered);
    if (text != NULL)
        o->state = owner_text_state(text, &o->pid);
    if (host != NULL)
        o->host = text_keep("%s", host);
    return 1;
}

/* One that a killed godwit has left goes: its title is not the guest's. */
static int mark_replace(const struct virt_domain *d, virDomainPtr dom, struct err *e)
{
    struct virt_mark_owner owner;
    if (virt_mark_owner(dom, &owner) == 0)
        return 0;
    if (owner.state == OWNER_ALIVE)
        return err_set(e, ERR_VIRT, 0,
                       "%s: domain %s is being migrated by another godwit, process %u on this host",
                       virt_host_role(d->host), d->name, owner.pid);
    return virt_mark_clear(d, e);
}

int virt_mark_set(const struct virt_domain *d, const char *id, const char *peer, struct err *e)
{
    CLEANUP_DOMAIN virDomainPtr dom = virt_domain_handle(d, e);
    if (dom == NULL || mark_replace(d, dom, e) < 0)
        return -1;
    CLEANUP_FREE char *title =
        virDomainGetMetadata(dom, VIR_DOMAIN_METADATA_TITLE, NULL, VIR_DOMAIN_AFFECT_LIVE);
    CLEANUP_FREE char *element = mark_element(id, title != NULL ? title : "");
    const char *words = text_keep("moving to %s by godwit, do not resume it here%s%s", peer,
                                  title != NULL ? " | " : "", title != NULL ? title : "");
    bool marked = element != NULL && mark_set_element(dom, element) == 0;
    if (marked && mark_title(dom, words) == 0)
        return 0;
    virt_host_fail(d->host, e, "cannot note the migration in the domain's metadata");
    if (marked && mark_set_element(dom, NULL) < 0)
        log_warn("%s: domain %s keeps the mark of a migration that has not begun: %s",
                 virt_host_role(d->host), d->name, virGetLastErrorMessage());
    return -1;
}

int virt_mark_clear(const struct virt_domain *d, struct err *e)
{
    CLEANUP_DOMAIN virDomainPtr dom = NULL;
    CLEANUP_XML xmlDocPtr doc = NULL;
    int marked = mark_look(d, &dom, &doc, e);
    if (marked <= 0)
        return marked;
    CLEANUP_FREE char *covered = xml_attribute(xmlDocGetRootElement(doc), "title");
    if ((covered == NULL || mark_title(dom, covered[0] != '\0' ? covered : NULL) == 0) &&
        mark_set_element(dom, NULL) == 0)
        return 0;
    return virt_host_fail(d->host, e, "cannot take the note of the migration off the domain");
}

int virt_mark_is(const struct virt_domain *d, const char *id, struct err *e)
{
    CLEANUP_DOMAIN virDomainPtr dom = NULL;
    CLEANUP_XML xmlDocPtr doc = NULL;
    int marked = mark_look(d, &dom, &doc, e);
    if (marked <= 0)
        return marked;
    CLEANUP_FREE char *there = xml_attribute(xmlDocGetRootElement(doc), "id");
    return there != NULL && strcmp(there, id) == 0;
}

int virt_mark_destroy(const struct virt_domain *d, const char *id, struct err *e)
{
    int ours = virt_mark_is(d, id, e);
    if (ours < 0)
        return -1;
    if (ours > 0)
        return virt_domain_destroy(d, e);
    int active = virt_domain_active(d, e);
    if (active <= 0)
        return active;
    return err_set(e, ERR_REFUSED, 0,
                   "%s: the QEMU of domain %s is not the one of this migration, "
                   "and is left alone",
                   virt_host_role(d->host), d->name);
}

/* ---- in XML ---- */

static void mark_uncover(xmlDocPtr doc, xmlNodePtr mark, const char *covered)
{
    xmlNodePtr title = xml_first(doc, mark, "../../title");
    if (title != NULL && covered[0] != '\0')
        xml_set_text(title, covered);
    else if (title != NULL)
        xml_remove(title);
}

void virt_mark_strip(xmlDocPtr doc)
{
    CLEANUP_NODES struct xml_nodes marks = xml_select(doc, NULL, MARK_XPATH);
    for (size_t i = 0; i < marks.n; i++) {
        CLEANUP_FREE char *covered = xml_attribute(marks.at[i], "title");
        if (covered != NULL)
            mark_uncover(doc, marks.at[i], covered);
        xml_remove(marks.at[i]);
    }
    CLEANUP_NODES struct xml_nodes empty = xml_select(doc, NULL, XML_DOMAINS "/metadata[not(*)]");
    for (size_t i = 0; marks.n > 0 && i < empty.n; i++)
        xml_remove(empty.at[i]);
}

bool virt_mark_in(xmlDocPtr doc)
{
    return xml_has(doc, NULL, MARK_XPATH);
}

void virt_mark_add(xmlDocPtr doc, const char *id)
{
    xmlNodePtr metadata = xml_first(doc, NULL, "/domain/metadata");
    if (metadata == NULL)
        metadata = xmlNewChild(xmlDocGetRootElement(doc), NULL, BAD_CAST "metadata", NULL);
    xmlNodePtr mark = xmlNewChild(metadata, NULL, BAD_CAST "migration", NULL);
    xmlSetNs(mark, xmlNewNs(mark, BAD_CAST VIRT_MARK_NAMESPACE, BAD_CAST MARK_PREFIX));
    xmlNewProp(mark, BAD_CAST "id", BAD_CAST id);
    mark_sign(mark);
}
