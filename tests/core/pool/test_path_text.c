/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/pool/path_text.h"

/* Below /p q, or /p,r; slashes may be doubled, and "/.." is "/". */
static char *name_in(void *arg, const char *path)
{
    static const char *const places[] = {"p q", "p,r"};
    unsigned *asked = arg;
    ++*asked;
    for (; *path == '/' || strncmp(path, "../", 3) == 0; path += *path == '/' ? 1 : 3)
        ;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        size_t len = strlen(places[i]);
        if (strncmp(path, places[i], len) == 0 && (path[len] == '/' || path[len] == '\0'))
            return strdup(path + len);
    }
    return NULL;
}

static const struct {
    const char *text;
    bool has, from_root; /* from_root: only if it may be relative to "/" */
} cases[] = {
    {"/p q", true, false},
    {"/p q/z.img", true, false},
    {"///p q//z.img", true, false},
    {"file=/p q/z.img,if=none", true, false},
    {"if=none,file=/p q/z.img", true, false},
    {"file=file:/p q/z.img,if=none", true, false},
    {"file=file:///p q/z.img", true, false},
    {"fat:rw:/p q/dir", true, false},
    {"blkdebug:/etc/rules:/p q/z.img", true, false},
    {"id=a,mem-path=/p q/ram", true, false},
    {"name=opt/x,file=/p q/x", true, false},
    {"socket,id=a,path=/p q/sock;x", true, false},
    {"virtio-blk,drive=d,x-y=[/p q/z]", true, false},
    {"/a:/p q/lib", true, false},
    {"/b/vmlinuz,/p q/initrd", true, false},
    {"root,file=/p,,r/z.img,format=raw", true, false},
    {"/p,r/z.img", true, false},
    {"{\"driver\":\"file\",\"filename\":\"/p q/z.img\"}", true, false},
    {"{'file': {'driver':'file','filename':'/p q/z.img'}}", true, false},
    {"json:{\"file.filename\":\"/p q/z.img\"}", true, false},
    {"backing.file.filename=/p q/z.img", true, false},
    {"json:{\"filename\":\"\\/p q\\/z.img\"}", true, false},
    {"json:{\"filename\":\"\\u002fp q/z.img\"}", true, false},
    {"json:{\"f\":\"json:{\\\"filename\\\":\\\"\\\\/p q/z.img\\\"}\"}", true, false},
    {"nbd+unix:///x?socket=%2Fp%20q%2Fsock", true, false},
    {"nbd+unix:///x?socket=/p q/sock", true, false},
    {"exec:cat /p q/z.img", true, false},
    {"file=p q/z.img", true, true},
    {"file=./../p q/z.img", false, false}, /* of the name's affair: "." is not taken away here */
    {"file=../p q/z.img", true, true},
    {"p q/z.img", true, true},
    {"", false, false},
    {"/", false, false},
    {"/p", false, false},
    {"/p qq/z.img", false, false},
    {"/x/p q/z.img", false, false},
    {"x/p q/z.img", false, false},
    {"nfs://host/p q/z.img", false, false},
    {"nfs:///host/p q/z.img", false, false},
    {"https://host:443/p q/z.img", false, false},
    {"%2", false, false},
    {"\\", false, false},
    {"\\u00", false, false},
    {",,,", false, false},
};

static void all_spellings(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        unsigned asked = 0;
        if (path_text_has(cases[i].text, true, name_in, &asked) != cases[i].has)
            fail_msg("'%s', from the root", cases[i].text);
        if (path_text_has(cases[i].text, false, name_in, &asked) !=
            (cases[i].has && !cases[i].from_root))
            fail_msg("'%s'", cases[i].text);
    }
}

/* What is no path is not asked for: each question may look at a disk. */
static void few_questions(void **state)
{
    (void)state;
    unsigned asked = 0;
    char word[2000];
    memset(word, 'a', sizeof word - 1);
    word[sizeof word - 1] = '\0';
    assert_false(path_text_has("qemu64,+x2apic", false, name_in, &asked));
    assert_false(path_text_has(word, true, name_in, &asked));
    assert_int_equal(asked, 0);
    memset(word, '/', sizeof word - 1);
    assert_false(path_text_has(word, false, name_in, &asked));
    assert_int_equal(asked, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_spellings),
        cmocka_unit_test(few_questions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
