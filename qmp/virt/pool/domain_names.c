/* SPDX-License-Identifier: Apache-2.0 */
#include "qmp/virt/pool/domain_names.h"

#include <string.h>

#include "core/cleanup.h"
#include "core/pool/path_text.h"

#define QEMU_NAMESPACE "http://libvirt.org/schemas/domain/qemu/1.0"

/*
 * All attributes and texts, without
 *  - what is for people or other programs;
 *  - the names of network disks, which are the server's;
 *  - what is matched with something that libvirt keeps, or shown to the guest, or is a path there.
 */
static const char names_xpath[] =
    "(//@*|//text())[not("
    "ancestor::metadata or ancestor::title or ancestor::description or ancestor::seclabel or "
    "parent::source/@protocol or "
    "(parent::secret and name()='usage') or "
    "parent::serial/parent::disk or parent::vendor/parent::disk or parent::product/parent::disk or "
    "(ancestor::sysinfo and self::text()) or "
    "parent::partition/parent::resource or "
    "parent::cmdline/parent::os or "
    "parent::*[local-name()='arg'][preceding-sibling::*[1]/@value='-append'] or "
    "(parent::target/parent::filesystem and name()='dir'))]";

/* libvirt checks its own paths to be absolute; QEMU, which it starts in "/", takes any. */
static bool names_for_qemu(xmlNodePtr node)
{
    const xmlNs *ns = node->parent != NULL ? node->parent->ns : NULL;
    return ns != NULL && ns->href != NULL && strcmp((const char *)ns->href, QEMU_NAMESPACE) == 0;
}

xmlNodePtr domain_names_first(const struct domain_move *m, xmlDocPtr doc)
{
    CLEANUP_NODES struct xml_nodes nodes = xml_select(doc, NULL, names_xpath);
    for (size_t i = 0; i < nodes.n; i++) {
        xmlNodePtr node = nodes.at[i];
        xmlChar *text = xmlNodeGetContent(node);
        bool named = text != NULL &&
                     path_text_has((const char *)text, names_for_qemu(node), m->name, m->arg);
        xmlFree(text);
        if (named)
            return node;
    }
    return NULL;
}

int domain_edit_uses_path(const char *xml, const char *what, const struct domain_move *m,
                          struct err *e)
{
    CLEANUP_XML xmlDocPtr doc = xml_parse(xml, what, e);
    return doc == NULL ? -1 : domain_names_first(m, doc) != NULL;
}

int domain_edit_uses(const char *xml, const char *what, const struct domain_move *m, struct err *e)
{
    CLEANUP_XML xmlDocPtr doc = xml_parse(xml, what, e);
    if (doc == NULL)
        return -1;
    CLEANUP_NODES struct xml_nodes sources = xml_select(doc, NULL, "//source[@volume]");
    bool uses = domain_names_first(m, doc) != NULL;
    for (size_t i = 0; i < sources.n; i++) {
        CLEANUP_FREE char *pool = xml_attribute(sources.at[i], "pool");
        uses |= pool != NULL && strcmp(pool, m->pool) == 0;
    }
    return uses;
}
