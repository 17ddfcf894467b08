/* SPDX-License-Identifier: Apache-2.0 */
/* What keeps a share from being opened: each stage has a message of its own, and a remedy. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/clock.h"
#include "fake_server.h"
#include "nfs/share.h"
#include "nfs/share_dial.h"

struct fixture {
    struct fake_server *server;
    struct ring *ring;
    struct store_place *place;
    int port, closed_port;
    struct err e;
};

/* A port of this moment that nobody listens at. */
static int closed_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    close(fd);
    return ntohs(at.sin_port);
}

static void start(struct fixture *f, const struct fake_faults *faults)
{
    *f = (struct fixture){.server = fake_server_start(faults), .closed_port = closed_port()};
    f->port = fake_server_port(f->server);
    f->ring = ring_new(RING_AUTO, &f->e);
    assert_non_null(f->ring);
}

static void open_by(struct fixture *f, const char *url, int mapper_port)
{
    const struct share_options options = {.timeout_ns = NS_PER_S, .mapper_port = mapper_port};
    f->place = share_open(f->ring, url, &options, &f->e);
}

static void end(struct fixture *f)
{
    if (f->place != NULL)
        f->place->ops->place_close(f->place);
    fake_server_stop(f->server);
    fake_server_free(f->server);
    ring_free(f->ring);
}

/* It is refused, in these words, and at once where it can be. */
static void refused(struct fixture *f, const char *url, int mapper_port, const char *message,
                    const char *hint)
{
    open_by(f, url, mapper_port);
    assert_null(f->place);
    if (strstr(f->e.msg, message) == NULL || f->e.hint == NULL || strstr(f->e.hint, hint) == NULL)
        fail_msg("'%s' and '%s' are not in: %s (%s)", message, hint, f->e.msg,
                 f->e.hint != NULL ? f->e.hint : "no hint");
    err_clear(&f->e);
}

static void refused_with(const struct fake_faults *faults, const char *path, const char *message,
                         const char *hint)
{
    struct fixture f;
    char url[128];
    start(&f, faults);
    snprintf(url, sizeof url, "nfs://127.0.0.1%s?nfsport=%d&mountport=%d", path, f.port, f.port);
    refused(&f, url, 0, message, hint);
    end(&f);
}

static void test_a_name_that_is_not_known_is_reported(void **state)
{
    struct fixture f;
    (void)state;
    start(&f, &(struct fake_faults){0});
    refused(&f, "nfs://no-such-host.invalid/export", 0,
            "no-such-host.invalid: the host's name does not resolve",
            "getent ahosts no-such-host.invalid");
    end(&f);
}

static void test_a_port_mapper_that_is_not_there_is_reported(void **state)
{
    struct fixture f;
    int silent_port;
    (void)state;
    start(&f, &(struct fake_faults){0});
    refused(&f, "nfs://127.0.0.1/export", f.closed_port, "port mapper (rpcbind, port ",
            "?nfsport=2049&mountport=");
    struct fake_silence *silence = fake_silence_start(&silent_port);
    refused(&f, "nfs://127.0.0.1/export", silent_port, "no answer from its port mapper",
            "firewall");
    fake_silence_stop(silence);
    end(&f);
    start(&f, &(struct fake_faults){.mute_from = 1});
    refused(&f, "nfs://127.0.0.1/export", f.port, "takes connections, but does not answer",
            "firewall");
    end(&f);
    start(&f, &(struct fake_faults){.not_mapped = true});
    refused(&f, "nfs://127.0.0.1/export", f.port, "knows no mountd of version 3",
            "'rpcinfo -p' on the server");
    end(&f);
    start(&f, &(struct fake_faults){.garbage_at = 1});
    refused(&f, "nfs://127.0.0.1/export", f.port,
            "is no RPC server: it has sent 80 00 00 1c de ad be", "rpcbind");
    end(&f);
    start(&f, &(struct fake_faults){.instead_at = 1,
                                    .instead = "SSH-2.0-OpenSSH_9.2p1 Debian\r\n",
                                    .instead_bytes = 30});
    refused(&f, "nfs://127.0.0.1/export", f.port, "it has sent \"SSH-2.0-OpenSSH_9.2p…\"",
            "rpcbind");
    end(&f);
}

static void test_a_wrong_port_is_reported(void **state)
{
    struct fixture f;
    char url[128], message[64];
    (void)state;
    start(&f, &(struct fake_faults){0});
    snprintf(url, sizeof url, "nfs://127.0.0.1/export?nfsport=%d&mountport=%d", f.closed_port,
             f.port);
    snprintf(message, sizeof message, "cannot connect to port %d (NFS): Connection refused",
             f.closed_port);
    refused(&f, url, 0, message, "?nfsport=");
    snprintf(url, sizeof url, "nfs://127.0.0.1/export?nfsport=%d&mountport=%d", f.port,
             f.closed_port);
    snprintf(message, sizeof message, "port %d (mountd): Connection refused", f.closed_port);
    refused(&f, url, 0, message, "?mountport=");
    end(&f);
    refused_with(&(struct fake_faults){.no_nfs = true}, "/export", "is another program",
                 "?nfsport=");
    refused_with(&(struct fake_faults){.only_v4 = true}, "/export", "does not speak version 3",
                 "vers3=y in [nfsd]");
    refused_with(&(struct fake_faults){.mute_from = 1}, "/export",
                 "(mountd) takes connections, but", "?mountport=");
}

static void test_a_mount_that_is_refused_is_reported(void **state)
{
    (void)state;
    refused_with(&(struct fake_faults){.flavour = 390003}, "/export", "the export takes only krb5",
                 "sec=sys");
    refused_with(&(struct fake_faults){0}, "/absent", "/absent: there is no such export",
                 "/export, /export/other");
    refused_with(&(struct fake_faults){.more_exports = 300}, "/absent", "there is no such export",
                 "/srv/exports/number-1, ");
    refused_with(&(struct fake_faults){.more_exports = 300}, "/absent", "there is no such export",
                 ", …");
    refused_with(&(struct fake_faults){.more_exports = 300, .mount_status = 13}, "/export",
                 "refuses to mount /export: Permission denied", " /export ");
    struct fixture f;
    char url[128];
    start(&f, &(struct fake_faults){.mount_status = 13});
    snprintf(url, sizeof url, "nfs://127.0.0.1/export?nfsport=%d&mountport=%d", f.port, f.port);
    open_by(&f, url, 0);
    assert_null(f.place);
    assert_non_null(strstr(f.e.msg, "refuses to mount"));
    /* root's connections come from a reserved port, if there is a free one */
    assert_true(geteuid() == 0 || !fake_server_reserved(f.server));
    assert_non_null(strstr(f.e.hint, fake_server_reserved(f.server)
                                         ? "exports /export to: 10.9.8.0/24; is 127.0.0.1 among"
                                         : "'insecure'"));
    end(&f);
}

/* While a share is opened: 1 and 3 are NULL, 2 MNT, 4 FSINFO, 5 GETATTR, 6 FSSTAT. */
static void test_what_is_no_answer_is_said_by_whom(void **state)
{
    static const struct {
        struct fake_patch patch;
        const char *why;
    } cases[] = {
        {{1, 7, 0}, "is no reply"},
        {{2, 7, 0}, "is no reply"},
        {{2, 28, 0x80}, "has a length beyond its end"},
        {{2, 28, 0xff}, "has a length beyond its end"},
        {{3, 16, 0x80}, "has a length beyond its end"},
        {{4, 16, 0xff}, "has a length beyond its end"},
        {{5, 7, 0}, "is no reply"},
        {{6, 11, 7}, "is neither accepted nor denied"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fixture f;
        char url[100], message[200];
        start(&f, &(struct fake_faults){.patches = &cases[i].patch, .n_patches = 1});
        snprintf(url, sizeof url, "nfs://127.0.0.1/export?nfsport=%d&mountport=%d", f.port, f.port);
        open_by(&f, url, 0);
        snprintf(message, sizeof message, "%s (port %d) has sent a message that %s (it begins ",
                 cases[i].patch.call < 3 ? "mountd" : "the NFS server", f.port, cases[i].why);
        if (i + 1 < sizeof cases / sizeof *cases) {
            assert_null(f.place);
            assert_int_equal(f.e.class, ERR_REFUSED);
            assert_non_null(strstr(f.e.msg, "nfs://127.0.0.1/export/: "));
            if (strstr(f.e.msg, message) == NULL)
                fail_msg("'%s' is not in: %s", message, f.e.msg);
        } else {
            assert_non_null(f.place); /* how much room there is need not be known */
        }
        end(&f);
    }
}

/* What is read as a length: of another protocol, and of what is no message at all. */
static void test_another_protocol_is_shown(void **state)
{
    static const struct {
        const char *bytes;
        unsigned len;
        const char *shown;
    } cases[] = {
        {"HTTP/1.1 400 Bad Request\r\n", 26, "\"HTTP/1.1 400 Bad Req…\""},
        {"\xff\xff\xff\xff\0\0\0\1", 8, "ff ff ff ff 00 00 00 01"},
        {"\x80\0\0\0", 4, "80 00 00 00"},
        {"\x80\0\0\4\0\0\0\1", 8, "ends too early (it begins 00 00 00 01)"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fixture f;
        char url[100];
        start(&f, &(struct fake_faults){
                      .instead_at = 4, .instead = cases[i].bytes, .instead_bytes = cases[i].len});
        snprintf(url, sizeof url, "nfs://127.0.0.1/export?nfsport=%d&mountport=%d", f.port, f.port);
        open_by(&f, url, 0);
        assert_null(f.place);
        if (strstr(f.e.msg, cases[i].shown) == NULL || strstr(f.e.msg, "the NFS server") == NULL)
            fail_msg("'%s' is not in: %s", cases[i].shown, f.e.msg);
        end(&f);
    }
}

/* Answers to what nobody has asked, without an end: the deadline would not be looked at. */
static void test_answers_to_nothing_have_an_end(void **state)
{
    enum { RECORDS = 2000, WORDS = 7 };
    static unsigned char bytes[RECORDS * WORDS * 4];
    struct fixture f;
    char url[100];
    (void)state;
    for (size_t i = 0; i < RECORDS; i++) {
        unsigned char *record = bytes + i * WORDS * 4;
        record[0] = 0x80;
        record[3] = (WORDS - 1) * 4;
        record[11] = 1; /* REPLY */
    }
    start(&f, &(struct fake_faults){
                  .instead_at = 4, .instead = (const char *)bytes, .instead_bytes = sizeof bytes});
    snprintf(url, sizeof url, "nfs://127.0.0.1/export?nfsport=%d&mountport=%d", f.port, f.port);
    open_by(&f, url, 0);
    assert_null(f.place);
    assert_non_null(strstr(f.e.msg, "answers nothing that was asked"));
    end(&f);
}

/* The port mapper is asked once for each service, however often the connection is lost. */
static void test_ports_are_kept(void **state)
{
    struct fixture f;
    struct store_attr attr;
    (void)state;
    start(&f, &(struct fake_faults){.close_at = 8});
    open_by(&f, "nfs://127.0.0.1/export", f.port);
    assert_non_null(f.place);
    for (int i = 0; i < 3; i++)
        assert_int_equal(f.place->ops->lookup(f.place, "absent", &attr, &f.e), 0);
    assert_true(fake_server_connections(f.server) > 4); /* of which two to the port mapper */
    assert_int_equal(fake_server_mapped(f.server), 2);
    end(&f);
}

static void test_an_ipv6_address_is_reported_in_brackets(void **state)
{
    struct fixture f;
    char url[128];
    (void)state;
    start(&f, &(struct fake_faults){0});
    snprintf(url, sizeof url, "nfs://[::1]/export?mountport=%d", f.closed_port);
    refused(&f, url, 0, "nfs://[::1]/export/: [::1]: cannot connect", "?mountport");
    end(&f);
    const struct share_dial d = {.who = "nfs://[fe80::1%lo]/", .host = "[fe80::1%lo]"};
    struct share_address at[SHARE_ADDRESSES_MAX];
    unsigned n = 0;
    assert_int_equal(share_dial_resolve(&d, "fe80::1%lo", at, &n, &f.e), 0);
    assert_int_equal(n, 1);
    assert_string_equal(at[0].text, "fe80::1%lo");
    assert_int_equal(share_dial_resolve(&d, "fe80::1%1", at, &n, &f.e), 0); /* by its number */
    assert_int_equal(share_dial_resolve(&d, "fe80::1%none0", at, &n, &f.e), -1);
    assert_non_null(strstr(f.e.msg, "[fe80::1%lo]: this host has no interface none0"));
    err_clear(&f.e);
    assert_int_equal(share_dial_resolve(&d, "fe80::1%4000000", at, &n, &f.e), -1);
    assert_non_null(strstr(f.e.msg, "no interface 4000000"));
    err_clear(&f.e);
    assert_int_equal(share_dial_resolve(&d, "fe80::1", at, &n, &f.e), -1);
    assert_non_null(strstr(f.e.msg, "only a link-local address"));
    assert_non_null(strstr(f.e.hint, "%eth0"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_name_that_is_not_known_is_reported),
        cmocka_unit_test(test_a_port_mapper_that_is_not_there_is_reported),
        cmocka_unit_test(test_a_wrong_port_is_reported),
        cmocka_unit_test(test_a_mount_that_is_refused_is_reported),
        cmocka_unit_test(test_what_is_no_answer_is_said_by_whom),
        cmocka_unit_test(test_another_protocol_is_shown),
        cmocka_unit_test(test_answers_to_nothing_have_an_end),
        cmocka_unit_test(test_ports_are_kept),
        cmocka_unit_test(test_an_ipv6_address_is_reported_in_brackets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
