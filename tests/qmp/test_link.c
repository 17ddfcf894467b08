/* SPDX-License-Identifier: Apache-2.0 */
/* The transports. ssh is a script of ours that is first in PATH. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/clock.h"
#include "qmp/client.h"
#include "qmp/link.h"

static char dir[] = "/tmp/test-link-XXXXXX";
static char old_path[4096];

static int open_text(const char *text, int64_t timeout_ns, struct qmp_link *l, struct err *e)
{
    struct qmp_endpoint ep;
    *e = (struct err){0};
    assert_int_equal(qmp_endpoint_parse(text, &ep, e), 0);
    return qmp_link_open(&ep, timeout_ns, l, e);
}

static void path_of(char *to, size_t size, const char *name)
{
    snprintf(to, size, "%s/%s", dir, name);
}

static void test_a_unix_socket_is_a_link(void **state)
{
    (void)state;
    char path[108], text[128];
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    struct qmp_link l;
    struct err e;
    path_of(path, sizeof path, "sock");
    snprintf(text, sizeof text, "qmp+unix:%s", path);
    assert_int_equal(open_text(text, NS_PER_S, &l, &e), -1);
    assert_int_equal(e.class, ERR_LOST);
    assert_non_null(strstr(e.hint, "-qmp unix:"));

    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    strcpy(sa.sun_path, path);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    assert_int_equal(open_text(text, NS_PER_S, &l, &e), -1); /* nobody listens */
    assert_int_equal(e.class, ERR_LOST);

    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(open_text(text, NS_PER_S, &l, &e), 0);
    assert_int_equal(qmp_link_peer_pid(&l), getpid());
    qmp_link_close(&l);
    qmp_link_close(&l); /* does nothing */
    assert_int_equal(l.fd, -1);
    close(fd);
    unlink(path);
}

static void test_a_tcp_socket_is_a_link(void **state)
{
    (void)state;
    struct qmp_link l;
    struct err e;
    assert_int_equal(open_text("qmp+tcp:127.0.0.1:1", NS_PER_S, &l, &e), -1);
    assert_int_equal(e.class, ERR_LOST);
    assert_int_equal(open_text("qmp+tcp:no-such-host.invalid:1", NS_PER_S, &l, &e), -1);
    assert_int_equal(e.class, ERR_REFUSED);
}

static void no_event(void *arg, const char *name, struct json_object *data)
{
    (void)arg, (void)name, (void)data;
}

static void install_ssh(const char *script)
{
    char path[108];
    path_of(path, sizeof path, "ssh");
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, "#!/bin/sh\n%s\n", script);
    fclose(f);
    chmod(path, 0755);
}

static void no_directory_left(const struct qmp_link *l)
{
    assert_true(l->dir[0] == '\0' && l->ssh == 0 && l->fd == -1);
}

static void test_a_failing_ssh_is_reported(void **state)
{
    (void)state;
    struct qmp_link l;
    struct err e;
    install_ssh("echo first >&2; echo 'root@b: Permission denied (publickey).' >&2; exit 255");
    assert_int_equal(open_text("qmp+ssh://root@b/run/x", 2 * NS_PER_S, &l, &e), -1);
    assert_int_equal(e.class, ERR_IO);
    assert_string_equal(e.msg,
                        "qmp+ssh://root@b/run/x: ssh: root@b: Permission denied (publickey).");
    assert_string_equal(e.hint, "'ssh root@b true' must work without a prompt");
    assert_int_equal(open_text("qmp+ssh://root@b:2222/run/x", 2 * NS_PER_S, &l, &e), -1);
    assert_string_equal(e.hint, "'ssh -p 2222 root@b true' must work without a prompt");
    no_directory_left(&l);

    /* OpenSSH 9.2's words, more than a kilobyte of them */
    install_ssh("f='@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@'; cat >&2 <<END\n"
                "$f\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\n$f\n"
                "IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!\n"
                "Someone could be eavesdropping on you right now (man-in-the-middle attack)!\n"
                "It is also possible that a host key has just been changed.\n"
                "The fingerprint for the ED25519 key sent by the remote host is\n"
                "SHA256:x6q$f$f$f$f$f$f$f$f.\n"
                "Please contact your system administrator.\n"
                "Add correct host key in /root/.ssh/known_hosts to get rid of this message.\n"
                "Offending ED25519 key in /root/.ssh/known_hosts:3\n"
                "Host key for b has changed and you have requested strict checking.\n"
                "Host key verification failed.\n$f\nEND\nexit 255");
    assert_int_equal(open_text("qmp+ssh://root@b/run/x", 2 * NS_PER_S, &l, &e), -1);
    assert_string_equal(e.msg,
                        "qmp+ssh://root@b/run/x: ssh: Host key for b has changed and you have "
                        "requested strict checking. (Offending ED25519 key in "
                        "/root/.ssh/known_hosts:3): Host key verification failed.");
    assert_string_equal(e.hint, "only if you know why the key has changed: ssh-keygen -R b");

    install_ssh("exit 1");
    assert_int_equal(open_text("qmp+ssh://b/run/x", 2 * NS_PER_S, &l, &e), -1);
    assert_non_null(strstr(e.msg, "ended without a message"));

    install_ssh("exec sleep 60");
    int64_t began_ns = clock_now_ns();
    assert_int_equal(open_text("qmp+ssh://b/run/x", 100 * NS_PER_MS, &l, &e), -1);
    assert_int_equal(e.class, ERR_TIMEOUT);
    assert_true(clock_now_ns() - began_ns < 5 * NS_PER_S); /* it was ended, too */
    no_directory_left(&l);

    setenv("PATH", "/nonexistent", 1);
    assert_int_equal(open_text("qmp+ssh://b/run/x", 2 * NS_PER_S, &l, &e), -1);
    assert_non_null(strstr(e.msg, "there is no ssh program"));
    char path[sizeof old_path + 64];
    snprintf(path, sizeof path, "%s:%s", dir, old_path);
    setenv("PATH", path, 1);
}

/*
 * The stream ends before a greeting. If ssh lives, the far socket did not answer: nobody is there. If
 * it was ssh that ended, that says nothing about QEMU.
 */
static enum err_class ssh_hangs_up(const char *then)
{
    struct err e = {0};
    struct qmp_endpoint ep;
    char script[512];
    snprintf(script, sizeof script,
             "for a; do case $a in *:/run/x) l=${a%%%%:*} ;; esac; done\n"
             "exec perl -MIO::Socket::UNIX -e '$s = IO::Socket::UNIX->new(Local => $ARGV[0], "
             "Listen => 1); $c = $s->accept; close $c; %s' \"$l\"",
             then);
    install_ssh(script);
    struct loop *loop = loop_new(&e);
    assert_non_null(loop);
    assert_int_equal(qmp_endpoint_parse("qmp+ssh://b/run/x", &ep, &e), 0);
    assert_null(qmp_client_open(loop, &ep, 5 * NS_PER_S, false, no_event, NULL, &e));
    loop_free(loop);
    return e.class;
}

static void test_an_ssh_that_hangs_up_is_reported(void **state)
{
    (void)state;
    assert_int_equal(ssh_hangs_up("sleep 60"), ERR_LOST);
    assert_int_equal(ssh_hangs_up("exit 255"), ERR_IO);
}

/* What it is called with; and a hostile user or host stays one argument. */
static void test_a_hostile_host_stays_one_argument_of_ssh(void **state)
{
    (void)state;
    struct qmp_link l;
    struct err e;
    char said[108], line[1024] = "";
    path_of(said, sizeof said, "said");
    char script[256];
    snprintf(script, sizeof script, "for a; do printf '%%s|' \"$a\"; done >%s; exit 1", said);
    install_ssh(script);
    assert_int_equal(open_text("qmp+ssh://a$(id)@b;c:22/run/x y", 2 * NS_PER_S, &l, &e), -1);
    FILE *f = fopen(said, "r");
    assert_non_null(f);
    assert_non_null(fgets(line, sizeof line, f));
    fclose(f);
    unlink(said);
    assert_non_null(strstr(line, "|BatchMode=yes|"));
    assert_non_null(strstr(line, "|ExitOnForwardFailure=yes|"));
    assert_non_null(strstr(line, "/qmp.sock:/run/x y|-p|22|-l|a$(id)|--|b;c|"));
}

static int setup(void **state)
{
    (void)state;
    char path[sizeof old_path + 64];
    snprintf(old_path, sizeof old_path, "%s", getenv("PATH"));
    if (mkdtemp(dir) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s:%s", dir, old_path);
    return setenv("PATH", path, 1);
}

static int teardown(void **state)
{
    (void)state;
    char path[108];
    path_of(path, sizeof path, "ssh");
    unlink(path);
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_unix_socket_is_a_link),
        cmocka_unit_test(test_a_tcp_socket_is_a_link),
        cmocka_unit_test(test_a_failing_ssh_is_reported),
        cmocka_unit_test(test_an_ssh_that_hangs_up_is_reported),
        cmocka_unit_test(test_a_hostile_host_stays_one_argument_of_ssh),
    };
    return cmocka_run_group_tests_name("link", tests, setup, teardown);
}
