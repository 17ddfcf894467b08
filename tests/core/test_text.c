/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/text.h"

static void kept_once(void **state)
{
    (void)state;
    const char *one = text_keep("virsh -c %s", "qemu:///system");
    char copy[] = "qemu:///system";
    assert_string_equal(one, "virsh -c qemu:///system");
    assert_ptr_equal(one, text_keep("virsh -c %s", copy));
    assert_ptr_not_equal(one, text_keep("another"));
}

static void kept_whole(void **state)
{
    (void)state;
    char name[100000];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_int_equal(strlen(text_keep("<%s>", name)), sizeof name - 1 + 2);
}

static void shell_words(void **state)
{
    (void)state;
    static const struct {
        const char *is, *word;
    } words[] = {
        {"vm1", "vm1"},
        {"qemu+ssh://root@b/system", "qemu+ssh://root@b/system"},
        {"", "''"},
        {"my vm", "'my vm'"},
        {"a&b", "'a&b'"},
        {"~root", "'~root'"},
        {"qemu+ssh://b/system?keyfile=/k", "'qemu+ssh://b/system?keyfile=/k'"},
        {"it's $HOME", "'it'\\''s $HOME'"},
        {"'", "''\\'''"},
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        assert_string_equal(text_shell_word(words[i].is), words[i].word);
}

static void url_hosts(void **state)
{
    (void)state;
    assert_string_equal(text_url_host("nfs"), "nfs");
    assert_string_equal(text_url_host("10.0.0.1"), "10.0.0.1");
    assert_string_equal(text_url_host("fd00::1"), "[fd00::1]");
    assert_string_equal(text_url_host("fe80::1%eth0"), "[fe80::1%eth0]");
    assert_string_equal(text_url_host("[fd00::1]"), "[fd00::1]");
}

static void commands(void **state)
{
    (void)state;
    char uri[2000];
    memset(uri, 'u', sizeof uri - 1);
    uri[sizeof uri - 1] = '\0';
    assert_string_equal(text_command("virsh -c %s domrename %s %s-old", "qemu:///system", "my vm",
                                     "a"),
                        "virsh -c qemu:///system domrename 'my vm' a-old");
    assert_string_equal(text_command("a %u %d %lu %llu 5%% %s", 1u, -2, 3ul, 4ull, "$x\ny"),
                        "a 1 -2 3 4 5% '$x y'");
    assert_int_equal(strlen(text_command("virsh -c %s destroy %s", uri, uri)),
                     18 + 2 * (sizeof uri - 1));
}

static void fits(void **state)
{
    (void)state;
    char to[64];
    text_fit(to, sizeof to, "short");
    assert_string_equal(to, "short");
    text_fit(to, sizeof to,
             "cannot open /srv/images/a/long/path/with/very/many/parts/of/it/disk.qcow2: No space");
    assert_int_equal(strncmp(to, "cannot open /srv/images/", 24), 0);
    assert_non_null(strstr(to, "disk.qcow2: No space"));
}

/* No long word to take from: the middle of the whole goes, beginning and end stay. */
static void fits_many_words(void **state)
{
    (void)state;
    char to[32];
    text_fit(to, sizeof to, "a b c d e f g h i j k l m n o p q r s t u v w x y z end");
    assert_int_equal(strncmp(to, "a b c", 5), 0);
    assert_string_equal(to + strlen(to) - 5, "z end");
    assert_true(strlen(to) < sizeof to);
}

/* Every size, of text with characters of several bytes: valid UTF-8, never too long, the end stays. */
static void fits_everywhere(void **state)
{
    (void)state;
    char text[400] = "", to[400];
    for (int i = 0; i < 40; i++)
        strcat(text, i % 7 == 0 ? " é€" : "€é/x");
    strcat(text, ": end");
    for (size_t room = 12; room < sizeof to; room++) {
        text_fit(to, room, text);
        assert_true(strlen(to) < room);
        if (room > 16)
            assert_string_equal(to + strlen(to) - 3, "end");
        for (const char *p = to; *p != '\0';) {
            unsigned char c = (unsigned char)*p;
            int more = c < 0x80 ? 0 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : -1;
            assert_true(more >= 0);
            for (p++; more > 0; more--, p++)
                assert_int_equal((unsigned char)*p & 0xc0, 0x80);
        }
    }
}

static void one_line(void **state)
{
    (void)state;
    char text[] = "a\nb\tc\x7f";
    text_one_line(text);
    assert_string_equal(text, "a b c ");
}

static void test_the_reason_is_the_last_line_that_says_something(void **state)
{
    (void)state;
    static const struct {
        const char *said, *why;
    } cases[] = {
        {"", ""},
        {"\n \r\n", ""},
        {"one\ntwo\r\n", "two"},
        {"Warning: Permanently added 'b' to the list of known hosts.\r\nroot@b: Permission denied.\r\n",
         "root@b: Permission denied."},
        {"@@@@@@@@@@@@@@@@\n@   WARNING: X   @\n@@@@@@@@@@@@@@@@\n", ""},
        {"the reason\n@@@@@@@@@@@@@@@@\n", "the reason"},
        {"** WARNING: connection is not using a post-quantum key exchange.\nlost", "lost"},
        {"No ED25519 host key is known for b and you have requested strict checking.\n"
         "Host key verification failed.: Connection reset by peer",
         "No ED25519 host key is known for b and you have requested strict checking.: "
         "Host key verification failed.: Connection reset by peer"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(text_why(cases[i].said), cases[i].why);
}

static void escaped(void **state)
{
    (void)state;
    char text[80] = "";
    FILE *to = fmemopen(text, sizeof text, "w");
    text_put_escaped(to, "a<b> & 'c' \"d\" \xc3\xa9");
    fclose(to);
    assert_string_equal(text, "a&lt;b&gt; &amp; &apos;c&apos; &quot;d&quot; \xc3\xa9");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_reason_is_the_last_line_that_says_something),
        cmocka_unit_test(kept_once),
        cmocka_unit_test(kept_whole),
        cmocka_unit_test(shell_words),
        cmocka_unit_test(commands),
        cmocka_unit_test(url_hosts),
        cmocka_unit_test(fits),
        cmocka_unit_test(fits_many_words),
        cmocka_unit_test(fits_everywhere),
        cmocka_unit_test(one_line),
        cmocka_unit_test(escaped),
    };
    return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
