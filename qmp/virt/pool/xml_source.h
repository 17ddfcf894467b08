/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An XML text that is edited: what is not edited comes out byte for byte as it went in, quotes,
 * entities and white space included. New and edited tags come out as libvirt writes them.
 */
#ifndef QMP_VIRT_POOL_XML_SOURCE_H
#define QMP_VIRT_POOL_XML_SOURCE_H

#include "qmp/virt/xml.h"

struct xml_source;

/* As xml_parse(); a DTD is refused. Free with xml_source_free(). */
struct xml_source *xml_source_parse(const char *text, const char *what, struct err *e);
void xml_source_free(struct xml_source *s); /* NULL is fine */

/* To be looked at, and to be edited by the functions below. */
xmlDocPtr xml_source_doc(const struct xml_source *s);

void xml_source_set(xmlNodePtr node, const char *attribute, const char *value);
void xml_source_unset(xmlNodePtr node, const char *attribute);
void xml_source_set_text(xmlNodePtr node, const char *text);

/* Adds an element behind `after`, a child of `parent`, or, with NULL, before all children; indented
 * like its neighbours. */
xmlNodePtr xml_source_add(xmlNodePtr parent, xmlNodePtr after, const char *name);

/* The text as it is now; free() it. NULL: no memory. */
char *xml_source_text(const struct xml_source *s);

static inline void xml_source_free_ptr(struct xml_source **s)
{
    xml_source_free(*s);
}

#define CLEANUP_XML_SOURCE CLEANUP(xml_source_free_ptr)

#endif
