/* SPDX-License-Identifier: Apache-2.0 */
#include "qmp/virt/pool/definition.h"

#include <string.h>

#include "qmp/virt/xml.h"

static bool definition_same_node(xmlNodePtr a, xmlNodePtr b);

static bool definition_blank(xmlNodePtr n)
{
    return n->type == XML_COMMENT_NODE || xmlIsBlankNode(n);
}

/* What counts from `n` on, of white space only what is all the text that there is. */
static xmlNodePtr definition_next(xmlNodePtr n)
{
    while (n != NULL && definition_blank(n))
        n = n->next;
    return n;
}

static bool definition_same_text(const xmlChar *a, const xmlChar *b)
{
    return a == NULL || b == NULL ? a == b : xmlStrEqual(a, b) == 1;
}

static bool definition_same_name(xmlNodePtr a, xmlNodePtr b)
{
    const xmlChar *space = a->ns != NULL ? a->ns->href : NULL;
    const xmlChar *other = b->ns != NULL ? b->ns->href : NULL;
    return a->type == b->type && definition_same_text(a->name, b->name) &&
           definition_same_text(space, other);
}

static size_t definition_count_attributes(xmlNodePtr n)
{
    size_t count = 0;
    for (xmlAttrPtr p = n->properties; p != NULL; p = p->next)
        count++;
    return count;
}

static bool definition_same_attributes(xmlNodePtr a, xmlNodePtr b)
{
    bool same = definition_count_attributes(a) == definition_count_attributes(b);
    for (xmlAttrPtr p = a->properties; same && p != NULL; p = p->next) {
        const xmlChar *space = p->ns != NULL ? p->ns->href : NULL;
        xmlChar *value = space != NULL ? xmlGetNsProp(a, p->name, space)
                                       : xmlGetNoNsProp(a, p->name);
        xmlChar *other = space != NULL ? xmlGetNsProp(b, p->name, space)
                                       : xmlGetNoNsProp(b, p->name);
        same = other != NULL && definition_same_text(value, other);
        xmlFree(value);
        xmlFree(other);
    }
    return same;
}

/* ---- devices ---- */

/* A device's place on its bus says which it is, wherever it stands. */
static bool definition_keeps_order(xmlNodePtr device)
{
    if (strcmp((const char *)device->name, "disk") == 0)
        return true;
    for (xmlNodePtr c = xmlFirstElementChild(device); c != NULL; c = xmlNextElementSibling(c))
        if (strcmp((const char *)c->name, "address") == 0)
            return false;
    return strcmp((const char *)device->name, "controller") != 0; /* these have an index */
}

/* The next one of the name whose order counts. */
static xmlNodePtr definition_next_ordered(xmlNodePtr n, const xmlChar *name)
{
    while (n != NULL && !(xmlStrEqual(n->name, name) && definition_keeps_order(n)))
        n = xmlNextElementSibling(n);
    return n;
}

/* Each of those of one name whose order counts has its counterpart at the same place. */
static bool definition_same_order(xmlNodePtr a, xmlNodePtr b, const xmlChar *name)
{
    xmlNodePtr x = definition_next_ordered(xmlFirstElementChild(a), name);
    xmlNodePtr y = definition_next_ordered(xmlFirstElementChild(b), name);
    while (x != NULL && y != NULL && definition_same_node(x, y)) {
        x = definition_next_ordered(xmlNextElementSibling(x), name);
        y = definition_next_ordered(xmlNextElementSibling(y), name);
    }
    return x == NULL && y == NULL;
}

static size_t definition_count_like(xmlNodePtr devices, xmlNodePtr like)
{
    size_t count = 0;
    for (xmlNodePtr c = xmlFirstElementChild(devices); c != NULL; c = xmlNextElementSibling(c))
        count += definition_same_node(c, like);
    return count;
}

static bool definition_same_devices(xmlNodePtr a, xmlNodePtr b)
{
    if (xmlChildElementCount(a) != xmlChildElementCount(b))
        return false;
    for (xmlNodePtr c = xmlFirstElementChild(a); c != NULL; c = xmlNextElementSibling(c))
        if (definition_count_like(a, c) != definition_count_like(b, c) ||
            !definition_same_order(a, b, c->name))
            return false;
    return true;
}

/* ---- all else ---- */

static bool definition_is_devices(xmlNodePtr n)
{
    return n->type == XML_ELEMENT_NODE && strcmp((const char *)n->name, "devices") == 0 &&
           n->parent != NULL && n->parent->parent != NULL &&
           n->parent->parent->type == XML_DOCUMENT_NODE;
}

static bool definition_same_children(xmlNodePtr a, xmlNodePtr b)
{
    xmlNodePtr x = definition_next(a->children), y = definition_next(b->children);
    if (x == NULL && y == NULL && xmlFirstElementChild(a) == NULL &&
        xmlFirstElementChild(b) == NULL) {
        xmlChar *text = xmlNodeGetContent(a), *other = xmlNodeGetContent(b);
        bool same = definition_same_text(text, other);
        xmlFree(text);
        xmlFree(other);
        return same;
    }
    while (x != NULL && y != NULL && definition_same_node(x, y)) {
        x = definition_next(x->next);
        y = definition_next(y->next);
    }
    return x == NULL && y == NULL;
}

static bool definition_same_node(xmlNodePtr a, xmlNodePtr b)
{
    if (!definition_same_name(a, b))
        return false;
    if (a->type != XML_ELEMENT_NODE)
        return definition_same_text(a->content, b->content);
    if (!definition_same_attributes(a, b))
        return false;
    return definition_is_devices(a) && definition_is_devices(b) ? definition_same_devices(a, b)
                                                                : definition_same_children(a, b);
}

bool virt_definition_same(const char *xml, const char *other)
{
    struct err e = {0};
    if (strcmp(xml, other) == 0)
        return true;
    CLEANUP_XML xmlDocPtr a = xml_parse(xml, "a definition", &e);
    CLEANUP_XML xmlDocPtr b = a != NULL ? xml_parse(other, "a definition", &e) : NULL;
    return b != NULL && definition_same_node(xmlDocGetRootElement(a), xmlDocGetRootElement(b));
}
