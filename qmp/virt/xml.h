/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libvirt's XML: read by XPath, changed in place, and given out again. What is not touched stays as
 * it was, comments and indentation included.
 *
 * The prefix "qemu" of an XPath is libvirt's QEMU namespace.
 */
#ifndef QMP_VIRT_XML_H
#define QMP_VIRT_XML_H

#include <libxml/tree.h>
#include <stdbool.h>
#include <stddef.h>

#include "core/cleanup.h"
#include "core/err.h"

#define XML_QEMU_NAMESPACE "http://libvirt.org/schemas/domain/qemu/1.0"

/* The domains in a document of libvirt's: a domain's own, a saved image's, and both of a snapshot's. */
#define XML_DOMAINS "(/domain | /domainsnapshot/domain | /domainsnapshot/inactiveDomain)"

struct xml_nodes {
    xmlNodePtr *at;
    size_t n;
};

/* `what` names it for the error (ERR_PROTO): "the XML of domain g". Free with xmlFreeDoc(). */
xmlDocPtr xml_parse(const char *text, const char *what, struct err *e);

/* The document as text, free() it; without an XML declaration, as libvirt gives it out. */
char *xml_text(xmlDocPtr doc);

/* The nodes that the path selects from `from` (the document: xmlDocGetRootElement()'s parent), in
 * document order; free(nodes.at). The path is ours: a wrong one is asserted. */
struct xml_nodes xml_select(xmlDocPtr doc, xmlNodePtr from, const char *xpath);

/* The first of them; NULL where there is none. */
xmlNodePtr xml_first(xmlDocPtr doc, xmlNodePtr from, const char *xpath);
bool xml_has(xmlDocPtr doc, xmlNodePtr from, const char *xpath);

/* The text of the first node or attribute, free() it; NULL where there is none. */
char *xml_value(xmlDocPtr doc, xmlNodePtr from, const char *xpath);

/* The attribute of a node, free() it; NULL where there is none. */
char *xml_attribute(xmlNodePtr node, const char *name);

/* Gives an element this text for its content: text, whatever characters are in it. */
void xml_set_text(xmlNodePtr node, const char *text);

/* Takes a node away, with the white space that indents it. */
void xml_remove(xmlNodePtr node);

static inline void xml_doc_free_ptr(xmlDocPtr *doc)
{
    if (*doc != NULL)
        xmlFreeDoc(*doc);
}

static inline void xml_nodes_free(struct xml_nodes *nodes)
{
    free(nodes->at);
}

#define CLEANUP_XML CLEANUP(xml_doc_free_ptr)
#define CLEANUP_NODES CLEANUP(xml_nodes_free)

#endif
