/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "qmp/virt/ssh.h"

static void expect_uri(const char *uri, const char *wanted)
{
    char *own = virt_ssh_uri(uri);
    assert_string_equal(own, wanted);
    free(own);
}

static void test_uri(void **state)
{
    (void)state;
    expect_uri("qemu+ssh://root@b/system", "qemu+ssh://root@b/system?command=" VIRT_SSH_SELF);
    expect_uri("qemu+ssh://b:2222/system?keyfile=/k",
               "qemu+ssh://b:2222/system?keyfile=/k&command=" VIRT_SSH_SELF);
    static const char *const as_they_are[] = {"qemu:///system",
                                              "qemu+tcp://b/system",
                                              "qemu+libssh2://b/system",
                                              "qemu+ssh://b/system?command=/opt/ssh",
                                              "qemu+ssh://b/system?no_tty=1&command=/opt/ssh",
                                              "qemu:///system?socket=/a+ssh",
                                              ""};
    for (size_t i = 0; i < sizeof as_they_are / sizeof *as_they_are; i++)
        expect_uri(as_they_are[i], as_they_are[i]);
}

/* A program called ssh, first in PATH, which sends itself what a terminal would, and then tells its arguments. */
static void make_ssh(char *dir)
{
    char path[64];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/ssh", dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("#!/bin/sh\nfor s in INT QUIT HUP; do kill -$s $$; done\necho \"$@\"\n", f);
    fclose(f);
    assert_int_equal(chmod(path, 0700), 0);
}

static void remove_ssh(const char *dir)
{
    char path[64];
    snprintf(path, sizeof path, "%s/ssh", dir);
    unlink(path);
    rmdir(dir);
}

static void test_ignores_the_terminal(void **state)
{
    (void)state;
    char dir[] = "/tmp/godwit-ssh-XXXXXX", said[64] = "";
    char *argv[] = {(char[]){VIRT_SSH_SELF}, (char[]){"-T"}, (char[]){"--"}, (char[]){"b"}, NULL};
    int out[2], status;
    make_ssh(dir);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(out[1], STDOUT_FILENO);
        setenv("PATH", dir, 1);
        _exit(virt_ssh_main(argv));
    }
    close(out[1]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    remove_ssh(dir);
    assert_int_equal(status, 0);
    assert_true(read(out[0], said, sizeof said - 1) > 0);
    assert_string_equal(said, "-T -- b\n");
    close(out[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_uri),
        cmocka_unit_test(test_ignores_the_terminal),
    };
    return cmocka_run_group_tests_name("ssh", tests, NULL, NULL);
}
