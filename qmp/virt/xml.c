/* SPDX-License-Identifier: Apache-2.0 */
#include "qmp/virt/xml.h"

#include <assert.h>
#include <libxml/parser.h>
#include <libxml/xpath.h>
#include <libxml/xpathInternals.h>
#include <stdlib.h>
#include <string.h>

xmlDocPtr xml_parse(const char *text, const char *what, struct err *e)
{
    /* nothing of ours names entities or DTDs: none is loaded, here or from a network */
    xmlDocPtr doc = xmlReadMemory(text, (int)strlen(text), NULL, NULL,
                                  XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
    if (doc == NULL || xmlDocGetRootElement(doc) == NULL) {
        const xmlError *error = xmlGetLastError();
        if (doc != NULL)
            xmlFreeDoc(doc);
        err_set(e, ERR_PROTO, 0, "%s: not XML, line %d", what, error != NULL ? error->line : 0);
        return NULL;
    }
    return doc;
}

char *xml_text(xmlDocPtr doc)
{
    xmlBufferPtr buffer = xmlBufferCreate();
    char *text = NULL;
    if (buffer == NULL)
        return NULL;
    for (xmlNodePtr n = doc->children; n != NULL; n = n->next) {
        if (xmlNodeDump(buffer, doc, n, 0, 0) < 0) {
            xmlBufferFree(buffer);
            return NULL;
        }
        xmlBufferCat(buffer, BAD_CAST "\n");
    }
    text = strdup((const char *)xmlBufferContent(buffer));
    xmlBufferFree(buffer);
    return text;
}

static xmlXPathObjectPtr xml_evaluate(xmlDocPtr doc, xmlNodePtr from, const char *xpath)
{
    xmlXPathContextPtr context = xmlXPathNewContext(doc);
    assert(context != NULL);
    context->node = from != NULL ? from : (xmlNodePtr)doc;
    xmlXPathRegisterNs(context, BAD_CAST "qemu", BAD_CAST XML_QEMU_NAMESPACE);
    xmlXPathObjectPtr found = xmlXPathEval(BAD_CAST xpath, context);
    xmlXPathFreeContext(context);
    assert(found != NULL && found->type == XPATH_NODESET);
    return found;
}

struct xml_nodes xml_select(xmlDocPtr doc, xmlNodePtr from, const char *xpath)
{
    xmlXPathObjectPtr found = xml_evaluate(doc, from, xpath);
    struct xml_nodes nodes = {0};
    if (found->nodesetval != NULL && found->nodesetval->nodeNr > 0) {
        xmlXPathNodeSetSort(found->nodesetval);
        nodes.n = (size_t)found->nodesetval->nodeNr;
        nodes.at = calloc(nodes.n, sizeof *nodes.at);
        assert(nodes.at != NULL);
        memcpy(nodes.at, found->nodesetval->nodeTab, nodes.n * sizeof *nodes.at);
    }
    xmlXPathFreeObject(found);
    return nodes;
}

xmlNodePtr xml_first(xmlDocPtr doc, xmlNodePtr from, const char *xpath)
{
    CLEANUP_NODES struct xml_nodes nodes = xml_select(doc, from, xpath);
    return nodes.n > 0 ? nodes.at[0] : NULL;
}

bool xml_has(xmlDocPtr doc, xmlNodePtr from, const char *xpath)
{
    return xml_first(doc, from, xpath) != NULL;
}

/* libxml2's allocator may be another than malloc: its strings are copied. */
static char *xml_own(xmlChar *text)
{
    char *copy = text != NULL ? strdup((const char *)text) : NULL;
    xmlFree(text);
    return copy;
}

char *xml_value(xmlDocPtr doc, xmlNodePtr from, const char *xpath)
{
    xmlNodePtr node = xml_first(doc, from, xpath);
    return node != NULL ? xml_own(xmlNodeGetContent(node)) : NULL;
}

char *xml_attribute(xmlNodePtr node, const char *name)
{
    return xml_own(xmlGetNoNsProp(node, BAD_CAST name));
}

void xml_set_text(xmlNodePtr node, const char *text)
{
    xmlNodeSetContent(node, NULL); /* that one would take entities in it for such */
    xmlNodeAddContent(node, BAD_CAST text);
}

void xml_remove(xmlNodePtr node)
{
    xmlNodePtr before = node->prev;
    if (before != NULL && xmlIsBlankNode(before)) {
        xmlUnlinkNode(before);
        xmlFreeNode(before);
    }
    xmlUnlinkNode(node);
    xmlFreeNode(node);
}
