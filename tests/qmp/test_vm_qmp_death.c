/* SPDX-License-Identifier: Apache-2.0 */
/* What proves that a QEMU has ended, what proves nothing, and that it is the same one that answers again. */
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/clock.h"
#include "vm_side.h"

/* A forwarder that has ended, or a firewall, refuses as well as a machine whose QEMU is gone. */
static void test_refused_is_no_death(void **state)
{
    (void)state;
    static const struct fake_step dies[] = {
        {.what = FAKE_ACCEPT}, PROBE("true"), {.what = FAKE_UNLISTEN}, {.what = FAKE_CLOSE}};
    static const struct fake_step lives[] = {{.what = FAKE_ACCEPT},
                                             PROBE("true"),
                                             {.what = FAKE_CLOSE},
                                             {.what = FAKE_ACCEPT},
                                             VERSION(10, 0),
                                             CPUS,
                                             UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
                                             {.what = FAKE_EXPECT_END}};
    struct side s;
    side_set_thread(1); /* not of who answers: a forwarder */
    side_open_probed(&s, fake_qmp_start("10.0", FAKE_TCP, dies, sizeof dies / sizeof *dies));
    assert_int_equal(s.facts.peer_pid, 0);
    loop_sleep(s.loop, 20 * NS_PER_MS);
    assert_int_equal(s.vm->ops->death(s.vm), VM_DEATH_NO_ANSWER);
    side_close(&s);
    side_open_probed(&s, fake_qmp_start("10.0", FAKE_TCP, lives, sizeof lives / sizeof *lives));
    loop_sleep(s.loop, 20 * NS_PER_MS);
    assert_int_equal(s.vm->ops->death(s.vm), VM_DEATH_LIVES);
    side_close(&s);
    side_set_thread(getpid());
}

/* ---- fakes in processes of their own, which end ---- */

struct other {
    pid_t pid; /* as this process sees it */
    pid_t child;
    char path[100], endpoint[128];
};

enum other_where { HERE, IN_A_CONTAINER };

/* In the child: says where it listens, and plays its part. */
static void other_play(int words, enum fake_transport transport, const struct fake_step *steps,
                       size_t count, const char *listen_at)
{
    struct other said = {0};
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* also when a check fails over there */
    side_set_thread((int)syscall(SYS_gettid));
    struct fake_qmp *fake = fake_qmp_start("10.0", transport, steps, count);
    snprintf(said.endpoint, sizeof said.endpoint, "%s", fake_qmp_endpoint(fake));
    if (transport == FAKE_UNIX)
        snprintf(said.path, sizeof said.path, "%s", fake_qmp_path(fake));
    if (listen_at != NULL && rename(said.path, listen_at) < 0)
        _exit(1);
    if (write(words, &said, sizeof said) != sizeof said)
        _exit(1);
    pause();
    _exit(0);
}

/* The process of `child`'s first child, where that is in a container. */
static pid_t other_inner(pid_t child)
{
    char path[64];
    int pid = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)child, (int)child);
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%d", &pid), 1);
    fclose(f);
    return pid;
}

/* False: this machine does not let us make a container. */
static bool other_start(struct other *o, enum other_where where, enum fake_transport transport,
                        const struct fake_step *steps, size_t count, const char *listen_at)
{
    int words[2];
    assert_int_equal(pipe(words), 0);
    pid_t child = fork();
    if (child == 0) {
        close(words[0]);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (where == IN_A_CONTAINER) {
            if (unshare(CLONE_NEWPID) < 0)
                _exit(77);
            pid_t inner = fork();
            if (inner > 0) {
                close(words[1]);
                waitpid(inner, NULL, 0);
                _exit(0);
            }
        }
        other_play(words[1], transport, steps, count, listen_at);
    }
    close(words[1]);
    bool made = read(words[0], o, sizeof *o) == sizeof *o;
    close(words[0]);
    o->child = child;
    if (made)
        o->pid = where == IN_A_CONTAINER ? other_inner(child) : child;
    else
        waitpid(child, NULL, 0);
    return made;
}

/* Until it is a zombie, or, in a container, waited for: a busy machine takes its time. */
static void other_kill(const struct other *o)
{
    siginfo_t info;
    assert_int_equal(kill(o->pid, SIGKILL), 0);
    assert_int_equal(waitid(P_PID, (id_t)o->child, &info, WEXITED | WNOWAIT), 0);
}

static void other_end(struct other *o)
{
    kill(o->pid, SIGKILL);
    waitpid(o->child, NULL, 0);
    unlink(o->path);
    if (o->path[0] != '\0') {
        *strrchr(o->path, '/') = '\0';
        rmdir(o->path);
    }
}

static void open_other(struct side *s, const char *endpoint)
{
    struct qmp_endpoint ep;
    *s = (struct side){.loop = loop_new(&s->e)};
    assert_int_equal(qmp_endpoint_parse(endpoint, &ep, &s->e), 0);
    s->vm = vm_qmp_open(s->loop, &ep, "destination", &s->e);
    if (s->vm == NULL || s->vm->ops->probe(s->vm, &s->facts, &s->e) < 0)
        fail_msg("%s", s->e.msg);
}

static void close_other(struct side *s)
{
    s->vm->ops->close(s->vm);
    loop_free(s->loop);
}

static const struct fake_step probed_only[] = {
    {.what = FAKE_ACCEPT}, PROBE("true"), {.what = FAKE_EXPECT_END}};
enum { PROBED_ONLY = sizeof probed_only / sizeof *probed_only };

/* It is known by its socket and its thread, whatever its program is called, also over TCP and in a PID
 * namespace of its own; then its end is a fact. */
static void test_death_by_process(void **state)
{
    (void)state;
    static const struct {
        enum other_where where;
        enum fake_transport transport;
    } cases[] = {{HERE, FAKE_UNIX},
                 {HERE, FAKE_TCP},
                 {IN_A_CONTAINER, FAKE_UNIX},
                 {IN_A_CONTAINER, FAKE_TCP}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct other o;
        struct side s;
        if (!other_start(&o, cases[i].where, cases[i].transport, probed_only, PROBED_ONLY, NULL)) {
            assert_int_not_equal(geteuid(), 0);
            continue;
        }
        open_other(&s, o.endpoint);
        assert_int_equal(s.facts.peer_pid, o.pid);
        assert_int_equal(s.vm->ops->death(s.vm), VM_DEATH_LIVES);
        other_kill(&o);
        assert_int_equal(s.vm->ops->death(s.vm), VM_DEATH_PROCESS_GONE);
        waitpid(o.child, NULL, 0);
        assert_int_equal(s.vm->ops->death(s.vm), VM_DEATH_PROCESS_GONE);
        close_other(&s);
        other_end(&o);
    }
}

#define AGAIN VERSION(10, 0), CPUS, UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")

/* The one that was probed lives, and another, in a container of its own, has its socket's name, its thread's
 * number, its version and its guest's UUID: the kernel tells who is at the other end. */
static void test_another_process_answers(void **state)
{
    (void)state;
    static const struct fake_step first[] = {
        {.what = FAKE_ACCEPT}, PROBE("true"), {.what = FAKE_CLOSE}};
    static const struct fake_step second[] = {
        {.what = FAKE_ACCEPT}, AGAIN, {.what = FAKE_EXPECT_END}};
    struct other a, b;
    struct side s;
    enum vm_run now;
    if (!other_start(&a, IN_A_CONTAINER, FAKE_UNIX, first, sizeof first / sizeof *first, NULL)) {
        assert_int_not_equal(geteuid(), 0);
        skip();
    }
    open_other(&s, a.endpoint);
    assert_int_equal(s.facts.peer_pid, a.pid);
    assert_true(other_start(&b, IN_A_CONTAINER, FAKE_UNIX, second, sizeof second / sizeof *second,
                            a.path));
    loop_sleep(s.loop, 20 * NS_PER_MS);
    assert_int_equal(s.vm->ops->death(s.vm), VM_DEATH_LIVES);
    assert_int_equal(s.vm->ops->run(s.vm, false, &now, &s.e), -1);
    side_expect(&s, ERR_LOST, "a different QEMU answers than before");
    close_other(&s);
    other_end(&b);
    other_end(&a);
}

static char ssh_dir[] = "/tmp/test-vm-ssh-XXXXXX";

/* An ssh that "forwards" to a path of this machine, which is the far one, where the shell is $FAKE_SHELL. */
static void install_ssh(void)
{
    static char old_path[4096];
    char path[sizeof old_path + 64];
    if (old_path[0] != '\0')
        return;
    assert_non_null(mkdtemp(ssh_dir));
    snprintf(path, sizeof path, "%s/ssh", ssh_dir);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    fputs("#!/bin/sh\n"
          "for a; do case $a in\n"
          "/*:/*) ln -s \"${a#*:}\" \"${a%%:*}\"; exec sleep 60 ;;\n"
          "'exec /bin/sh') exec ${FAKE_SHELL:-/bin/sh} ;;\n"
          "esac; done\n",
          f);
    fclose(f);
    assert_int_equal(chmod(path, 0755), 0);
    snprintf(old_path, sizeof old_path, "%s", getenv("PATH"));
    snprintf(path, sizeof path, "%s:%s", ssh_dir, old_path);
    setenv("PATH", path, 1);
}

static int remove_ssh(void **state)
{
    (void)state;
    char path[128];
    snprintf(path, sizeof path, "%s/ssh", ssh_dir);
    unlink(path);
    rmdir(ssh_dir);
    return 0;
}

/* It hangs up on each connection after the first, which was looked at by then, before it greets: so does a full
 * backlog look. */
static const struct fake_step hangs_up[] = {{.what = FAKE_ACCEPT},
                                            VERSION(10, 0),
                                            STATUS("running"),
                                            REPLY("query-migrate", "{}"),
                                            MACHINE("pc-q35-10.0"),
                                            MEMORY,
                                            CPUS,
                                            KVM("true"),
                                            UUID("00000000-0000-0000-0000-000000000000"),
                                            REPLY("query-migrate", "{\"status\":\"active\"}"),
                                            STATUS("running"),
                                            {.what = FAKE_CLOSE},
                                            {.what = FAKE_ACCEPT_DUMB},
                                            {.what = FAKE_CLOSE}};
enum { HANGS_UP = sizeof hangs_up / sizeof *hangs_up };

static void open_over_ssh(struct side *s, const char *path)
{
    char endpoint[160], end[256];
    struct vm_sample sample;
    install_ssh();
    snprintf(endpoint, sizeof endpoint, "qmp+ssh://b%s", path);
    open_other(s, endpoint);
    assert_string_equal(s->facts.uuid, ""); /* -uuid was not given */
    assert_int_equal(s->facts.peer_pid, 0); /* it is of this machine's */
    snprintf(end, sizeof end,
             "ssh b 'printf '\\''%%s\\n'\\'' '\\''{\"execute\":\"qmp_capabilities\"}'\\'' "
             "'\\''{\"execute\":\"quit\"}'\\'' | socat -t5 - UNIX-CONNECT:%s'",
             path);
    assert_string_equal(s->vm->commands.end, end);
    assert_int_equal(s->vm->ops->sample(s->vm, &sample, &s->e), 0);
    loop_sleep(s->loop, 20 * NS_PER_MS);
    assert_int_equal(s->vm->ops->sample(s->vm, &sample, &s->e), -1);
    side_expect(s, ERR_LOST, "closed without a QMP greeting");
}

/* The stream that ends before a greeting says nothing: the process does, also one that is in a container
 * over there, beside another whose socket has the same name and whose thread the same number. */
static void test_death_over_ssh(void **state)
{
    (void)state;
    for (enum other_where where = HERE; where <= IN_A_CONTAINER; where++) {
        struct other o, twin;
        struct side s, of_twin;
        if (!other_start(&o, where, FAKE_UNIX, hangs_up, HANGS_UP, NULL)) {
            assert_int_not_equal(geteuid(), 0);
            continue;
        }
        assert_true(other_start(&twin, where, FAKE_UNIX, probed_only, PROBED_ONLY, NULL));
        open_other(&of_twin, twin.endpoint);
        open_over_ssh(&s, o.path);
        assert_int_equal(((struct vm_qmp *)s.vm)->process.pid, o.pid);
        assert_int_equal(s.vm->ops->death(s.vm), VM_DEATH_LIVES);
        other_kill(&o);
        assert_int_equal(s.vm->ops->death(s.vm), VM_DEATH_PROCESS_GONE);
        waitpid(o.child, NULL, 0);
        assert_int_equal(s.vm->ops->death(s.vm), VM_DEATH_PROCESS_GONE);
        close_other(&of_twin);
        other_end(&twin);
        close_other(&s);
        other_end(&o);
    }
}

static pid_t start_bystander(void)
{
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        pause();
        _exit(0);
    }
    return child;
}

/* The far machine has that thread, of a process that lives, named as it may be, and does not have the socket:
 * nothing can be proven by it. */
static void test_a_thread_is_no_process(void **state)
{
    (void)state;
    pid_t bystander = start_bystander();
    struct side s;
    side_set_thread(bystander);
    struct fake_qmp *fake = fake_qmp_start("10.0", FAKE_UNIX, hangs_up, HANGS_UP);
    open_over_ssh(&s, fake_qmp_path(fake));
    kill(bystander, SIGKILL);
    waitpid(bystander, NULL, 0);
    assert_int_equal(s.vm->ops->death(s.vm), VM_DEATH_NO_ANSWER);
    close_other(&s);
    fake_qmp_end(fake);
    side_set_thread(getpid());
}

/* Who logs in there must not see whose the socket is: what the process is called is no proof. */
static void test_who_may_not_see_proves_nothing(void **state)
{
    (void)state;
    struct other o;
    struct side s;
    if (geteuid() != 0)
        skip();
    assert_true(other_start(&o, HERE, FAKE_UNIX, hangs_up, HANGS_UP, NULL));
    setenv("FAKE_SHELL", "setpriv --reuid 65534 --clear-groups /bin/sh", 1);
    open_over_ssh(&s, o.path);
    other_kill(&o);
    assert_int_equal(s.vm->ops->death(s.vm), VM_DEATH_NO_ANSWER);
    unsetenv("FAKE_SHELL");
    close_other(&s);
    other_end(&o);
}

/* The socket is another program's: that it is gone says nothing about the QEMU behind it. */
static void test_death_of_a_proxy(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {.what = FAKE_ACCEPT}, PROBE("true"), {.what = FAKE_CLOSE}};
    struct side s;
    struct fake_qmp *fake = FAKE_QMP("10.0", steps);
    char path[128], text[160];
    pid_t proxy = fork();
    snprintf(path, sizeof path, "%s.proxy", fake_qmp_path(fake));
    if (proxy == 0) {
        char from[160], to[160];
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        snprintf(from, sizeof from, "UNIX-LISTEN:%s", path);
        snprintf(to, sizeof to, "UNIX-CONNECT:%s", fake_qmp_path(fake));
        execlp("socat", "socat", from, to, (char *)NULL);
        _exit(77);
    }
    for (int i = 0; i < 200 && access(path, F_OK) < 0; i++)
        usleep(10000);
    assert_int_equal(access(path, F_OK), 0);
    snprintf(text, sizeof text, "qmp+unix:%s", path);
    struct qmp_endpoint ep;
    s = (struct side){.fake = fake, .loop = loop_new(&s.e)};
    assert_int_equal(qmp_endpoint_parse(text, &ep, &s.e), 0);
    s.vm = vm_qmp_open(s.loop, &ep, "destination", &s.e);
    assert_non_null(s.vm);
    assert_int_equal(s.vm->ops->probe(s.vm, &s.facts, &s.e), 0);
    waitpid(proxy, NULL, 0); /* its one connection is closed */
    loop_sleep(s.loop, 20 * NS_PER_MS);
    assert_int_equal(s.vm->ops->death(s.vm), VM_DEATH_NO_ANSWER);
    side_close(&s);
    unlink(path);
}

/* A service manager has started another in its place: to ask that one would be to ask a stranger. */
static void test_another_qemu_answers(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {.what = FAKE_ACCEPT},
        PROBE("true"),
        {.what = FAKE_CLOSE},
        {.what = FAKE_ACCEPT},
        VERSION(10, 0),
        REPLY("query-cpus-fast", "[{\"cpu-index\":0,\"qom-path\":\"/x\",\"thread-id\":8,"
                                 "\"target\":\"x86_64\"}]"),
        UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
        {.what = FAKE_EXPECT_END}};
    static const struct fake_step uuid[] = {{.what = FAKE_ACCEPT},
                                            PROBE("true"),
                                            {.what = FAKE_CLOSE},
                                            {.what = FAKE_ACCEPT},
                                            VERSION(10, 0),
                                            CPUS,
                                            UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8"),
                                            {.what = FAKE_EXPECT_END}};
    static const struct fake_step version[] = {{.what = FAKE_ACCEPT},
                                               PROBE("true"),
                                               {.what = FAKE_CLOSE},
                                               {.what = FAKE_ACCEPT},
                                               VERSION(10, 1),
                                               CPUS,
                                               UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
                                               {.what = FAKE_EXPECT_END}};
    struct fake_qmp *others[] = {FAKE_QMP("10.0", steps), FAKE_QMP("10.0", uuid),
                                 FAKE_QMP("10.0", version)};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct side s;
        enum vm_run now;
        side_open_probed(&s, others[i]);
        assert_int_equal(loop_catch_signals(s.loop, &s.e), 0);
        raise(SIGINT); /* a rollback is not interrupted */
        loop_sleep(s.loop, 20 * NS_PER_MS);
        assert_int_equal(s.vm->ops->run(s.vm, false, &now, &s.e), -1);
        side_expect(&s, ERR_LOST, "a different QEMU answers than before");
        side_close(&s);
    }
}

/* In a container the next QEMU has the same thread, and its guest the same UUID: that the process which was
 * probed is not that one, or cannot be looked at any more, is enough to say so. */
static void test_its_process_is_another(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {{.what = FAKE_ACCEPT},
                                             PROBE("true"),
                                             {.what = FAKE_CLOSE},
                                             {.what = FAKE_ACCEPT},
                                             {.what = FAKE_EXPECT_END}};
    for (int left = 0; left < 2; left++) {
        struct side s;
        enum vm_run now;
        side_open_probed(&s, FAKE_QMP("10.0", steps));
        struct qmp_process *p = &((struct vm_qmp *)s.vm)->process;
        assert_int_equal(p->pid, getpid());
        if (left == 0)
            p->start_ticks++; /* that one began at another time */
        else
            p->shell.kind = SHELL_NONE;
        loop_sleep(s.loop, 20 * NS_PER_MS);
        assert_int_equal(s.vm->ops->run(s.vm, false, &now, &s.e), -1);
        side_expect(&s, ERR_LOST,
                    left == 0 ? "a different QEMU answers" : "its process could not be checked");
        side_close(&s);
    }
}

int main(int argc, char **argv)
{
    side_set_thread(getpid());
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused_is_no_death),
        cmocka_unit_test(test_death_by_process),
        cmocka_unit_test(test_another_process_answers),
        cmocka_unit_test(test_death_over_ssh),
        cmocka_unit_test(test_a_thread_is_no_process),
        cmocka_unit_test(test_who_may_not_see_proves_nothing),
        cmocka_unit_test(test_death_of_a_proxy),
        cmocka_unit_test(test_another_qemu_answers),
        cmocka_unit_test(test_its_process_is_another),
    };
    cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
    return cmocka_run_group_tests_name("vm_qmp_death", tests, NULL, remove_ssh);
}
