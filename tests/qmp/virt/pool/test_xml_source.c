/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "qmp/virt/pool/xml_source.h"

static struct xml_source *parse(const char *text)
{
    struct err e = {0};
    struct xml_source *s = xml_source_parse(text, "the XML", &e);
    if (s == NULL)
        fail_msg("%s", e.msg);
    return s;
}

static xmlNodePtr first(const struct xml_source *s, const char *xpath)
{
    xmlNodePtr node = xml_first(xml_source_doc(s), NULL, xpath);
    assert_non_null(node);
    return node;
}

static void expect(struct xml_source *s, const char *text)
{
    CLEANUP_FREE char *is = xml_source_text(s);
    assert_string_equal(is, text);
    xml_source_free(s);
}

/* What nobody writes, but may. */
static const char *const odd[] = {
    "<a/>",
    "<a></a>\n",
    "<?xml version='1.0'?>\n<!-- <b> -->\n<a x = \"1>2\"  y='\"'><b   ></b ><![CDATA[<c>&]]></a>\n\n",
    "<a>&lt;b&gt; it's &quot;so&quot; &#65;<b t='&#10;&apos;'/></a>",
    "<q:a xmlns:q=\"urn:q\" q:b='c'><?pi <b> ?><q:d/></q:a>\n<!-- end -->",
    "<a\n  b='1'\n>\t<c\n/>\r\n</a>",
};

static void test_untouched_xml_is_the_same_bytes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        expect(parse(odd[i]), odd[i]);
}

/* An edit deep inside leaves all else as it was, the tags around it included. */
static void test_edit_inside(void **state)
{
    (void)state;
    struct xml_source *s =
        parse("<a  x=\"1\"><!-- c --><b y=\"it's\"/>&quot;<c  z=\"2\" ><d   e=\"1\"/></c ></a>\n");
    xml_source_set(first(s, "/a/c/d"), "e", "a'b\"<&>");
    expect(s, "<a  x=\"1\"><!-- c --><b y=\"it's\"/>&quot;<c  z=\"2\" >"
              "<d e='a&apos;b&quot;&lt;&amp;&gt;'/></c></a>\n");
}

static void test_same_value_is_no_edit(void **state)
{
    (void)state;
    struct xml_source *s = parse("<a  b=\"1\"/>");
    xml_source_set(first(s, "/a"), "b", "1");
    xml_source_unset(first(s, "/a"), "c");
    expect(s, "<a  b=\"1\"/>");
}

static void test_an_element_can_be_added(void **state)
{
    (void)state;
    struct xml_source *s = parse("<a>\n  <b/>\n  <c>\n    <d/>\n  </c>\n</a>");
    xmlNodePtr e = xml_source_add(first(s, "/a"), first(s, "/a/b"), "e");
    xml_source_set(e, "n", "1");
    xml_source_add(xml_source_add(e, NULL, "f"), NULL, "g");
    xml_source_add(first(s, "/a/c"), NULL, "first");
    xml_source_add(first(s, "/a/b"), NULL, "h");
    expect(s, "<a>\n  <b>\n    <h/>\n  </b>\n  <e n='1'>\n    <f>\n      <g/>\n    </f>\n  </e>\n"
              "  <c>\n    <first/>\n    <d/>\n  </c>\n</a>");
}

static void test_add_without_white_space(void **state)
{
    (void)state;
    struct xml_source *s = parse("<a x=\"1\"><b/></a>");
    xml_source_add(first(s, "/a"), first(s, "/a/b"), "c");
    xml_source_add(first(s, "/a/b"), NULL, "d");
    expect(s, "<a x=\"1\"><b><d/></b><c/></a>");
}

static void test_a_text_can_be_replaced(void **state)
{
    (void)state;
    struct xml_source *s = parse("<a><b  t=\"1\">old</b><c/></a>");
    xml_source_set_text(first(s, "/a/b"), "new & 'more'");
    xml_source_set_text(first(s, "/a/c"), "x");
    expect(s, "<a><b  t=\"1\">new &amp; &apos;more&apos;</b><c>x</c></a>");
}

static void test_namespaces_stay(void **state)
{
    (void)state;
    struct xml_source *s = parse("<a xmlns:q=\"urn:q\"><q:b q:c=\"1\" d=\"2\"/></a>");
    xml_source_set(xmlFirstElementChild(first(s, "/a")), "d", "3");
    expect(s, "<a xmlns:q=\"urn:q\"><q:b q:c='1' d='3'/></a>");
}

static void test_what_is_no_xml_or_has_a_doctype_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", "<a>", "no", "<!DOCTYPE a [<!ENTITY b '<c/>'>]><a>&b;</a>", "<!DOCTYPE a><a/>",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err e = {0};
        assert_null(xml_source_parse(bad[i], "it", &e));
        assert_int_equal(e.class, ERR_PROTO);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_untouched_xml_is_the_same_bytes),
        cmocka_unit_test(test_edit_inside),
        cmocka_unit_test(test_same_value_is_no_edit),
        cmocka_unit_test(test_an_element_can_be_added),
        cmocka_unit_test(test_add_without_white_space),
        cmocka_unit_test(test_a_text_can_be_replaced),
        cmocka_unit_test(test_namespaces_stay),
        cmocka_unit_test(test_what_is_no_xml_or_has_a_doctype_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
