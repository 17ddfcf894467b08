/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * libxml2 does not remember how a document was written: which quotes, which entities. So the text
 * is scanned once more, and each element of the tree gets, in its _private, the range of the text
 * that it came from: elements are met in the same order in both. An edit marks its element, and
 * the way up to the root as no longer clean.
 *
 * When the text is put together, a clean element is copied from its range as a whole. Of one that
 * is not, the start tag is copied unless it was edited itself, and then its children follow. Nodes
 * without a range are new.
 */
#include "qmp/virt/pool/xml_source.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"

struct span {
    const char *start, *tag_end, *end; /* of the element; tag_end: behind its start tag */
    bool edited;                       /* its start tag */
    bool unclean;                      /* it, or something inside of it */
};

struct xml_source {
    char *text;
    xmlDocPtr doc;
    struct span *spans;
    size_t n;
};

/* ---- where elements are ---- */

/* Behind the start tag that begins at `p`; '>' may stand inside of quotes. */
static const char *source_tag_end(const char *p)
{
    char quote = '\0';
    for (; *p != '\0'; p++) {
        if (quote != '\0')
            quote = *p == quote ? '\0' : quote;
        else if (*p == '"' || *p == '\'')
            quote = *p;
        else if (*p == '>')
            return p + 1;
    }
    return p;
}

static const char *source_behind(const char *p, const char *end)
{
    const char *at = strstr(p, end);
    return at != NULL ? at + strlen(end) : p + strlen(p);
}

/* Behind what is no element: a comment, CDATA, a processing instruction. NULL: it is an element. */
static const char *source_skip(const char *p)
{
    if (strncmp(p, "<!--", 4) == 0)
        return source_behind(p + 4, "-->");
    if (strncmp(p, "<![CDATA[", 9) == 0)
        return source_behind(p + 9, "]]>");
    if (strncmp(p, "<?", 2) == 0)
        return source_behind(p + 2, "?>");
    return NULL;
}

/* The text is well-formed: libxml2 has parsed it. */
static void source_scan(struct xml_source *s, size_t *open)
{
    size_t depth = 0;
    const char *p = s->text, *next;
    while ((p = strchr(p, '<')) != NULL) {
        if ((next = source_skip(p)) != NULL) {
            p = next;
            continue;
        }
        next = source_tag_end(p);
        if (p[1] == '/') {
            assert(depth > 0);
            s->spans[open[--depth]].end = next;
        } else {
            struct span *span = &s->spans[s->n];
            *span = (struct span){.start = p, .tag_end = next, .end = next};
            if (next[-2] != '/')
                open[depth++] = s->n;
            s->n++;
        }
        p = next;
    }
}

static void source_assign(struct xml_source *s, xmlNodePtr node, size_t *next)
{
    for (; node != NULL; node = node->next) {
        if (node->type != XML_ELEMENT_NODE)
            continue;
        assert(*next < s->n);
        node->_private = &s->spans[(*next)++];
        source_assign(s, node->children, next);
    }
}

static size_t source_count(const char *text)
{
    size_t n = 0;
    for (; *text != '\0'; text++)
        n += *text == '<';
    return n;
}

struct xml_source *xml_source_parse(const char *text, const char *what, struct err *e)
{
    xmlDocPtr doc = xml_parse(text, what, e);
    if (doc == NULL)
        return NULL;
    struct xml_source *s = calloc(1, sizeof *s);
    size_t room = source_count(text);
    CLEANUP_FREE size_t *open = calloc(room, sizeof *open);
    if (s != NULL) {
        s->doc = doc;
        s->text = strdup(text);
        s->spans = calloc(room, sizeof *s->spans);
    }
    if (s == NULL || open == NULL || s->text == NULL || s->spans == NULL) {
        err_set(e, ERR_IO, ENOMEM, "no memory for %s", what);
        if (s == NULL)
            xmlFreeDoc(doc);
        xml_source_free(s);
        return NULL;
    }
    if (doc->intSubset !=
        NULL) { /* its entities could hold elements, which the scan would not see */
        err_set(e, ERR_PROTO, 0, "%s: has a DTD", what);
        xml_source_free(s);
        return NULL;
    }
    size_t next = 0;
    source_scan(s, open);
    source_assign(s, doc->children, &next);
    assert(next == s->n);
    return s;
}

void xml_source_free(struct xml_source *s)
{
    if (s == NULL)
        return;
    xmlFreeDoc(s->doc);
    free(s->spans);
    free(s->text);
    free(s);
}

xmlDocPtr xml_source_doc(const struct xml_source *s)
{
    return s->doc;
}

/* ---- edits ---- */

/* Its start tag has to be written anew, or, without `tag`, only what is inside. */
static void source_mark(xmlNodePtr node, bool tag)
{
    struct span *span = node->_private;
    if (span != NULL && tag)
        span->edited = true;
    for (; node != NULL && node->type == XML_ELEMENT_NODE; node = node->parent)
        if ((span = node->_private) != NULL)
            span->unclean = true;
}

void xml_source_set(xmlNodePtr node, const char *attribute, const char *value)
{
    CLEANUP_FREE char *now = xml_attribute(node, attribute);
    if (now != NULL && strcmp(now, value) == 0)
        return;
    xmlSetProp(node, BAD_CAST attribute, BAD_CAST value);
    source_mark(node, true);
}

void xml_source_unset(xmlNodePtr node, const char *attribute)
{
    if (xmlUnsetProp(node, BAD_CAST attribute) == 0)
        source_mark(node, true);
}

void xml_source_set_text(xmlNodePtr node, const char *text)
{
    xmlNodePtr child;
    source_mark(node, node->children == NULL);
    while ((child = node->children) != NULL) {
        xmlUnlinkNode(child);
        xmlFreeNode(child);
    }
    xmlAddChild(node, xmlNewText(BAD_CAST text));
}

/* The white space before an element, if there is some. */
static xmlNodePtr source_indent(xmlNodePtr like)
{
    return like->prev != NULL && xmlIsBlankNode(like->prev) ? xmlCopyNode(like->prev, 1) : NULL;
}

/* For the first child of an element: a line of its own, two columns deeper. */
static xmlNodePtr source_add_first(xmlNodePtr parent, const char *name)
{
    xmlNodePtr node = xmlNewNode(parent->ns, BAD_CAST name);
    xmlNodePtr outer = source_indent(parent);
    if (outer != NULL) {
        xmlNodePtr inner = xmlCopyNode(outer, 1);
        xmlNodeAddContent(inner, BAD_CAST "  ");
        xmlAddChild(parent, inner);
    }
    node = xmlAddChild(parent, node);
    if (outer != NULL)
        xmlAddChild(parent, outer);
    return node;
}

xmlNodePtr xml_source_add(xmlNodePtr parent, xmlNodePtr after, const char *name)
{
    xmlNodePtr first = xmlFirstElementChild(parent), node;
    source_mark(parent, parent->children == NULL);
    if (first == NULL)
        return source_add_first(parent, name);
    node = xmlNewNode(parent->ns, BAD_CAST name);
    xmlNodePtr space = source_indent(after != NULL ? after : first);
    /* libxml2 would merge a text with its neighbour, so the new ones go next to elements */
    if (after != NULL) {
        node = xmlAddNextSibling(after, node);
        if (space != NULL)
            xmlAddNextSibling(after, space);
    } else {
        node = xmlAddPrevSibling(first, node);
        if (space != NULL)
            xmlAddNextSibling(node, space);
    }
    return node;
}

/* ---- the text as it is now ---- */

static void source_put_name(FILE *to, const xmlNs *ns, const xmlChar *name)
{
    if (ns != NULL && ns->prefix != NULL)
        fprintf(to, "%s:", (const char *)ns->prefix);
    fputs((const char *)name, to);
}

static void source_put_tag(FILE *to, xmlNodePtr node)
{
    fputc('<', to);
    source_put_name(to, node->ns, node->name);
    for (const xmlNs *ns = node->nsDef; ns != NULL; ns = ns->next) {
        fprintf(to, ns->prefix != NULL ? " xmlns:%s='" : " xmlns%s='",
                ns->prefix != NULL ? (const char *)ns->prefix : "");
        text_put_escaped(to, (const char *)ns->href);
        fputc('\'', to);
    }
    for (xmlAttrPtr a = node->properties; a != NULL; a = a->next) {
        xmlChar *value = xmlNodeListGetString(node->doc, a->children, 1);
        fputc(' ', to);
        source_put_name(to, a->ns, a->name);
        fputs("='", to);
        text_put_escaped(to, value != NULL ? (const char *)value : "");
        fputc('\'', to);
        xmlFree(value);
    }
    fputs(node->children == NULL ? "/>" : ">", to);
}

static void source_put_other(FILE *to, xmlNodePtr node)
{
    switch (node->type) {
    case XML_TEXT_NODE:
        if (xmlIsBlankNode(node))
            fputs((const char *)node->content, to);
        else
            text_put_escaped(to, (const char *)node->content);
        break;
    case XML_CDATA_SECTION_NODE: fprintf(to, "<![CDATA[%s]]>", (const char *)node->content); break;
    case XML_COMMENT_NODE: fprintf(to, "<!--%s-->", (const char *)node->content); break;
    case XML_PI_NODE:
        fprintf(to, "<?%s %s?>", (const char *)node->name,
                node->content != NULL ? (const char *)node->content : "");
        break;
    default: break;
    }
}

static void source_put(FILE *to, xmlNodePtr node)
{
    const struct span *span = node->_private;
    if (node->type != XML_ELEMENT_NODE) {
        source_put_other(to, node);
        return;
    }
    if (span != NULL && !span->unclean) {
        fwrite(span->start, 1, (size_t)(span->end - span->start), to);
        return;
    }
    if (span != NULL && !span->edited)
        fwrite(span->start, 1, (size_t)(span->tag_end - span->start), to);
    else
        source_put_tag(to, node);
    for (xmlNodePtr child = node->children; child != NULL; child = child->next)
        source_put(to, child);
    if (node->children != NULL) {
        fputs("</", to);
        source_put_name(to, node->ns, node->name);
        fputc('>', to);
    }
}

char *xml_source_text(const struct xml_source *s)
{
    xmlNodePtr root = xmlDocGetRootElement(s->doc);
    const struct span *span = root->_private;
    char *text = NULL;
    size_t len = 0;
    FILE *to = open_memstream(&text, &len);
    if (to == NULL)
        return NULL;
    fwrite(s->text, 1, (size_t)(span->start - s->text), to);
    source_put(to, root);
    fputs(span->end, to);
    if (fclose(to) != 0) {
        free(text);
        return NULL;
    }
    return text;
}
