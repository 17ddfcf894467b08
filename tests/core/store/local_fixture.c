/* SPDX-License-Identifier: Apache-2.0 */
#include "local_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif

void fixture_set_up(struct fixture *f, const struct where *where, bool nice_cache)
{
    *f = (struct fixture){0};
    snprintf(f->dir, sizeof f->dir, "%s/godwit-test-XXXXXX", where->parent);
    assert_non_null(mkdtemp(f->dir));
    f->ring = ring_new(where->backend, &f->e);
    assert_non_null(f->ring);
    f->place = store_local_open(f->ring, f->dir,
                                &(struct store_local_options){.nice_cache = nice_cache}, &f->e);
    assert_non_null(f->place);
    f->ops = f->place->ops;
}

void fixture_tear_down(struct fixture *f)
{
    char command[128];
    f->ops->place_close(f->place);
    ring_free(f->ring);
    snprintf(command, sizeof command, "rm -r %s", f->dir);
    assert_int_equal(system(command), 0);
}

const char *fixture_path(struct fixture *f, const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", f->dir, name);
    return path;
}

void fixture_fill(unsigned char *buf, size_t len, uint64_t offset)
{
    for (size_t i = 0; i < len; i++, offset++)
        buf[i] = (unsigned char)(offset * 31 + offset / 256 + offset / 65536 + 1);
}

void fixture_make(struct fixture *f, const char *name, size_t len)
{
    unsigned char *data = malloc(len);
    fixture_fill(data, len, 0);
    int fd = open(fixture_path(f, name), O_RDWR | O_CREAT | O_EXCL, 0640);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, len), len);
    assert_int_equal(fsync(fd), 0);
    close(fd);
    free(data);
}

struct store_file *fixture_open(struct fixture *f, const char *name, enum store_how how,
                                uint64_t size_bytes)
{
    struct store_file *file = f->ops->open(f->place, name, how, size_bytes, &f->e);
    if (file == NULL)
        fail_msg("%s", f->e.msg);
    assert_string_equal(file->name, name);
    return file;
}

void fixture_refuses(struct fixture *f, const char *name, enum store_how how, enum err_class class,
                     int sys)
{
    assert_null(f->ops->open(f->place, name, how, 4096, &f->e));
    assert_int_equal(f->e.class, class);
    assert_int_equal(f->e.sys, sys);
    err_clear(&f->e);
}

int fixture_remove(struct fixture *f, const char *name)
{
    struct store_attr is = {0};
    int found = f->ops->lookup(f->place, name, &is, &f->e);
    return found < 0 ? -1 : f->ops->remove(f->place, name, &is, &f->e);
}

static void done(struct store_io *io)
{
    ++*(int *)io->arg;
}

static struct store_io await(struct fixture *f, void (*start)(struct store_io *io),
                             struct store_io io)
{
    int ended = 0;
    io.done = done;
    io.arg = &ended;
    start(&io);
    assert_int_equal(ended, 0); /* never from the call itself */
    while (ended == 0)
        assert_int_equal(ring_turn(f->ring, 1000000), 0);
    assert_int_equal(ended, 1);
    return io;
}

struct store_io fixture_read(struct fixture *f, struct store_file *file, void *buf, uint32_t len,
                             uint64_t offset)
{
    return await(f, f->ops->read,
                 (struct store_io){.file = file, .buf = buf, .offset = offset, .len_bytes = len});
}

struct store_io fixture_write(struct fixture *f, struct store_file *file, void *buf, uint32_t len,
                              uint64_t offset, bool want_stable)
{
    return await(f, f->ops->write,
                 (struct store_io){.file = file,
                                   .buf = buf,
                                   .offset = offset,
                                   .len_bytes = len,
                                   .want_stable = want_stable});
}

struct store_io fixture_commit(struct fixture *f, struct store_file *file, uint64_t offset,
                               uint32_t len)
{
    return await(f, f->ops->commit,
                 (struct store_io){.file = file, .offset = offset, .len_bytes = len});
}

void fixture_deny(long nr, int sys)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)nr, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)sys),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof code / sizeof *code, .filter = code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0) {
        perror("seccomp");
        exit(1);
    }
}

void fixture_old_kernel(void)
{
    fixture_deny(SYS_openat2, ENOSYS);
    fixture_deny(SYS_cachestat, ENOSYS);
    fixture_deny(SYS_renameat2, EINVAL);
}

bool fixture_run_on_old_kernel(void)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        execl("/proc/self/exe", "old-kernel", "--old-kernel", (char *)NULL);
        _exit(127);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

const struct store_attr fixture_someone = {
    .mode = 0644,
    .uid = 4711,
    .gid = 4712,
    .atime_ns = 1000000000123456789,
    .mtime_ns = -1500000000}; /* half a second before the end of 1969 */

struct where fixture_disk = {"/var/tmp", RING_AUTO}, fixture_memory = {"/dev/shm", RING_AUTO},
             fixture_disk_calls = {"/var/tmp", RING_SYSCALLS},
             fixture_memory_calls = {"/dev/shm", RING_SYSCALLS};

struct store_attr fixture_look(struct fixture *f, const char *name)
{
    struct store_attr attr;
    assert_int_equal(f->ops->lookup(f->place, name, &attr, &f->e), 1);
    return attr;
}

bool fixture_is_there(struct fixture *f, const char *name)
{
    struct stat st;
    return lstat(fixture_path(f, name), &st) == 0;
}

void fixture_write_image(struct fixture *f, struct store_file *file)
{
    static const struct {
        uint32_t len, offset;
    } part[] = {
        {MIB, 0}, {8192, 2 * MIB}, {3000, 2 * MIB + 8192}, {5192, 2 * MIB + 11192}, {777, 3 * MIB}};
    unsigned char *buf = aligned_alloc(65536, MIB);
    uint8_t verifier[STORE_VERIFIER_BYTES];
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
        fixture_fill(buf, part[i].len, part[i].offset);
        struct store_io io = fixture_write(f, file, buf, part[i].len, part[i].offset, i == 2);
        assert_int_equal(io.res, part[i].len);
        assert_int_equal(io.stable, i == 2);
        memcpy(verifier, io.verifier, sizeof verifier);
    }
    struct store_io io = fixture_commit(f, file, MIB, MIB);
    assert_int_equal(io.res, 0);
    assert_memory_equal(io.verifier, verifier, sizeof verifier);
    io = fixture_commit(f, file, 0, 0);
    assert_memory_equal(io.verifier, verifier, sizeof verifier);
    free(buf);
}

void fixture_check_image(struct fixture *f, const char *name)
{
    unsigned char *buf = malloc(FIXTURE_SIZE), *want = calloc(1, FIXTURE_SIZE);
    fixture_fill(want, MIB, 0);
    fixture_fill(want + 2 * MIB, 16384, 2 * MIB);
    fixture_fill(want + 3 * MIB, 777, 3 * MIB);
    struct store_file *file = fixture_open(f, name, STORE_READ, 0);
    assert_int_equal(file->attr.size_bytes, FIXTURE_SIZE);
    assert_true(file->attr.used_bytes < MIB + MIB / 2);
    assert_int_equal(fixture_read(f, file, buf, FIXTURE_SIZE, 0).res, FIXTURE_SIZE);
    assert_memory_equal(buf, want, FIXTURE_SIZE);
    f->ops->file_close(file);
    free(buf);
    free(want);
}
