/* SPDX-License-Identifier: Apache-2.0 */
/* What a copy does to the host's page cache, and whom it sees at an image. */
#include "local_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/store/local_cache.h"

enum { LEN = 16 * MIB, PAGE = 4096, PAGES = LEN / PAGE };

struct pages {
    unsigned char in[PAGES];
};

static void residency(struct fixture *f, const char *name, struct pages *p)
{
    int fd = open(fixture_path(f, name), O_RDONLY);
    void *map = mmap(NULL, LEN, PROT_READ, MAP_SHARED, fd, 0);
    assert_true(map != MAP_FAILED);
    assert_int_equal(mincore(map, LEN, p->in), 0);
    munmap(map, LEN);
    close(fd);
    for (int i = 0; i < PAGES; i++)
        p->in[i] &= 1;
}

static int resident(struct fixture *f, const char *name)
{
    struct pages p;
    int n = 0;
    residency(f, name, &p);
    for (int i = 0; i < PAGES; i++)
        n += p.in[i];
    return n;
}

/* The kernel may take back what it likes, and we may run where memory is short: of what ought to be
 * there we ask for half. What ought not to be there must not, to the page. */
static void assert_resident(struct fixture *f, const char *name, int pages)
{
    int n = resident(f, name);
    assert_true(n <= pages && n * 2 >= pages);
}

static void evict(struct fixture *f, const char *name)
{
    int fd = open(fixture_path(f, name), O_RDONLY);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
}

/* As somebody else on the host would; without read-ahead. */
static void bring_in(struct fixture *f, const char *name, off_t offset, size_t len)
{
    char *buf = malloc(len);
    int fd = open(fixture_path(f, name), O_RDONLY);
    posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
    assert_int_equal(pread(fd, buf, len, offset), len);
    close(fd);
    free(buf);
}

static void set_up(struct fixture *f, void **state, bool nice_cache)
{
    fixture_set_up(f, *state, nice_cache);
    int fd = open(f->dir, O_RDONLY);
    bool home = local_cache_is_home(fd);
    close(fd);
    if (home) {
        fixture_tear_down(f);
        print_message("skipped: /var/tmp is no disk file system here\n");
        skip();
    }
    fixture_make(f, "image", LEN);
    evict(f, "image");
    assert_int_equal(resident(f, "image"), 0);
}

/* `skew` 1: so that it cannot be direct I/O. */
static void read_all(struct fixture *f, struct store_file *file, int skew)
{
    unsigned char *buf = aligned_alloc(65536, 2 * MIB), *want = malloc(MIB);
    for (uint64_t at = 0; at < LEN; at += MIB) {
        assert_int_equal(fixture_read(f, file, buf + skew, MIB, at).res, MIB);
        fixture_fill(want, MIB, at);
        assert_memory_equal(buf + skew, want, MIB);
    }
    free(buf);
    free(want);
}

static void write_all(struct fixture *f, struct store_file *file, int skew)
{
    unsigned char *buf = aligned_alloc(65536, 2 * MIB);
    for (uint64_t at = 0; at < LEN; at += MIB) {
        fixture_fill(buf + skew, MIB, at);
        assert_int_equal(fixture_write(f, file, buf + skew, MIB, at, false).res, MIB);
    }
    free(buf);
}

/* A cold image is read past the page cache, with and without nice_cache. */
static void test_a_cold_source_stays_cold(void **state)
{
    for (int nice = 0; nice < 2; nice++) {
        struct fixture f;
        set_up(&f, state, nice != 0);
        struct store_file *file = fixture_open(&f, "image", STORE_READ, 0);
        if (file->align_bytes == 1) {
            f.ops->file_close(file);
            fixture_tear_down(&f);
            print_message("skipped: no direct I/O here\n");
            skip();
        }
        read_all(&f, file, 0);
        assert_int_equal(resident(&f, "image"), 0);
        f.ops->file_close(file);
        fixture_tear_down(&f);
    }
}

/* A warm one is read from there, and stays. */
static void test_a_warm_source_stays_warm(void **state)
{
    for (int nice = 0; nice < 2; nice++) {
        struct fixture f;
        set_up(&f, state, nice != 0);
        bring_in(&f, "image", 0, LEN / 4);
        struct store_file *file = fixture_open(&f, "image", STORE_READ, 0);
        assert_true(file->align_bytes > 1); /* not yet */
        f.ops->file_close(file);
        bring_in(&f, "image", 0, LEN / 8 * 7);
        file = fixture_open(&f, "image", STORE_READ, 0);
        assert_int_equal(file->align_bytes, 1);
        read_all(&f, file, 0);
        assert_resident(&f, "image", nice ? PAGES / 8 * 7 : PAGES);
        f.ops->file_close(file);
        fixture_tear_down(&f);
    }
}

/* A sparse image is warm when its data is. */
static void test_a_sparse_image_is_warm_when_its_data_is(void **state)
{
    struct fixture f;
    set_up(&f, state, false);
    assert_int_equal(truncate(fixture_path(&f, "image"), (off_t)64 * LEN), 0);
    bring_in(&f, "image", 0, LEN);
    struct store_file *file = fixture_open(&f, "image", STORE_READ, 0);
    assert_int_equal(file->align_bytes, 1);
    f.ops->file_close(file);
    fixture_tear_down(&f);
}

/* What has to be read through the page cache leaves no trace; without nice_cache it does. */
static void test_buffered_reads_leave_no_trace(void **state)
{
    for (int nice = 0; nice < 2; nice++) {
        struct fixture f;
        struct pages before, after;
        set_up(&f, state, nice != 0);
        bring_in(&f, "image", 0, 2 * MIB);             /* whole requests */
        bring_in(&f, "image", 5 * MIB + 65536, 65536); /* the middle of one */
        bring_in(&f, "image", LEN - 3 * 32768, 2 * 32768);
        residency(&f, "image", &before);
        assert_resident(&f, "image", (2 * MIB + 65536 + 65536) / PAGE);
        struct store_file *file = fixture_open(&f, "image", STORE_READ, 0);
        read_all(&f, file, 1);
        residency(&f, "image", &after);
        for (int i = 0; nice && i < PAGES; i++)
            assert_true(after.in[i] <= before.in[i]);
        assert_resident(&f, "image", nice ? (2 * MIB + 65536 + 65536) / PAGE : PAGES);
        f.ops->file_close(file);
        fixture_tear_down(&f);
    }
}

static void test_nice_writes_leave_the_page_cache(void **state)
{
    for (int nice = 0; nice < 2; nice++) {
        for (int skew = 0; skew < 2; skew++) {
            struct fixture f;
            set_up(&f, state, nice != 0);
            struct store_file *file = fixture_open(&f, "new", STORE_CREATE, LEN);
            bool buffered = skew != 0 || file->align_bytes == 1;
            write_all(&f, file, skew);
            assert_resident(&f, "new", buffered ? PAGES : 0);
            assert_int_equal(fixture_commit(&f, file, 0, LEN / 2).res, 0);
            if (buffered)
                assert_resident(&f, "new", nice ? PAGES / 2 : PAGES);
            assert_int_equal(fixture_commit(&f, file, 0, 0).res, 0);
            assert_resident(&f, "new", nice || !buffered ? 0 : PAGES);
            read_all(&f, file, 1);
            assert_resident(&f, "new", nice ? 0 : PAGES);
            assert_int_equal(fixture_remove(&f, "new"), 0);
            f.ops->file_close(file);
            fixture_tear_down(&f);
        }
    }
}

/* ---- in use ---- */

struct qemu {
    pid_t pid;
    int in, out; /* its QMP */
};

/* The greeting can come early; an answer means that it has opened everything. */
static bool qemu_answers(const struct qemu *q)
{
    static const char command[] = "{\"execute\": \"qmp_capabilities\"}\n";
    char said[512] = "";
    size_t len = 0;
    ssize_t n;
    if (write(q->in, command, sizeof command - 1) < 0)
        return false;
    while (strstr(said, "\"return\"") == NULL) {
        n = read(q->out, said + len, sizeof said - 1 - len);
        if (n <= 0)
            return false;
        len += (size_t)n;
    }
    return true;
}

static void qemu_stop(struct qemu *q)
{
    kill(q->pid, SIGTERM);
    waitpid(q->pid, NULL, 0);
    close(q->in);
    close(q->out);
}

static struct qemu qemu_start(const char *drive)
{
    int out[2], in[2];
    assert_int_equal(pipe(out), 0);
    assert_int_equal(pipe(in), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        close(in[1]);
        close(out[0]);
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* also when the test fails in between */
        execlp("qemu-system-x86_64", "qemu-system-x86_64", "-nodefaults", "-S", "-display", "none",
               "-accel", "tcg", "-m", "16", "-qmp", "stdio", "-drive", drive, (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    struct qemu q = {pid, in[1], out[0]};
    if (!qemu_answers(&q)) {
        qemu_stop(&q);
        print_message("skipped: no qemu-system-x86_64 that starts\n");
        skip();
    }
    return q;
}

static bool in_use(struct fixture *f, enum store_how how)
{
    struct store_file *file = fixture_open(f, "image", how, 0);
    bool used = file->in_use;
    f->ops->file_close(file);
    return used;
}

static void test_an_image_of_a_qemu_is_in_use(void **state)
{
    struct fixture f;
    char drive[256];
    fixture_set_up(&f, *state, false);
    fixture_make(&f, "image", MIB);
    assert_false(in_use(&f, STORE_READ));

    snprintf(drive, sizeof drive, "file=%s,format=raw,if=virtio", fixture_path(&f, "image"));
    struct qemu q = qemu_start(drive);
    assert_true(in_use(&f, STORE_READ));
    assert_true(in_use(&f, STORE_UPDATE));
    qemu_stop(&q);
    assert_false(in_use(&f, STORE_READ));

    strcat(drive, ",readonly=on");
    q = qemu_start(drive);
    assert_false(in_use(&f, STORE_READ));
    assert_false(in_use(&f, STORE_UPDATE));
    qemu_stop(&q);
    fixture_tear_down(&f);
}

/* The same lock, held by ourselves, for where there is no QEMU. */
static void test_a_locked_image_is_in_use(void **state)
{
    struct fixture f;
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 100, .l_len = 1};
    fixture_set_up(&f, *state, false);
    fixture_make(&f, "image", MIB);
    int fd = open(fixture_path(&f, "image"), O_RDWR);
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0); /* consistent reads */
    assert_false(in_use(&f, STORE_READ));
    lock.l_start = 201; /* does not share writing */
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
    assert_false(in_use(&f, STORE_READ));
    lock.l_start = 101;
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
    assert_true(in_use(&f, STORE_READ));
    close(fd);
    assert_false(in_use(&f, STORE_UPDATE));
    fixture_tear_down(&f);
}

static void test_it_works_on_an_old_kernel(void **state)
{
    (void)state;
    assert_true(fixture_run_on_old_kernel());
}

static struct where disk = {"/var/tmp", RING_AUTO}, disk_calls = {"/var/tmp", RING_SYSCALLS};

#define BOTH(test)                                             \
    {#test " (any ring)", test, NULL, NULL, &disk},            \
    {                                                          \
#test " (system calls)", test, NULL, NULL, &disk_calls \
    }

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_a_cold_source_stays_cold),
        BOTH(test_a_warm_source_stays_warm),
        BOTH(test_a_sparse_image_is_warm_when_its_data_is),
        BOTH(test_buffered_reads_leave_no_trace),
        BOTH(test_nice_writes_leave_the_page_cache),
        BOTH(test_a_locked_image_is_in_use),
    };
    const struct CMUnitTest once[] = {
        cmocka_unit_test_prestate(test_an_image_of_a_qemu_is_in_use, &disk),
        cmocka_unit_test(test_it_works_on_an_old_kernel),
    };
    signal(SIGPIPE, SIG_IGN); /* a QEMU that is not there */
    if (argc > 1 && strcmp(argv[1], "--old-kernel") == 0)
        fixture_old_kernel();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (argc == 1)
        failed += cmocka_run_group_tests(once, NULL, NULL);
    return failed;
}
