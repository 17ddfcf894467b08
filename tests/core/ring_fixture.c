/* SPDX-License-Identifier: Apache-2.0 */
#include "ring_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/clock.h"

void see(void *arg, int res)
{
    struct seen *s = arg;
    s->count++;
    s->res = res;
}

/* Skips the test where this backend is not to be had. */
static struct ring *open_ring(enum ring_backend backend)
{
    struct err e = {0};
    struct ring *r = ring_new(backend, &e);
    if (r == NULL) {
        print_message("skipped: %s\n", e.msg);
        skip();
    }
    assert_int_equal(ring_backend(r), backend);
    return r;
}

void set_up(struct fixture *f, void **state)
{
    char path[] = "/tmp/godwit-test-XXXXXX";
    f->backend = **(enum ring_backend **)state;
    f->ring = open_ring(f->backend);
    f->file = mkstemp(path);
    assert_true(f->file >= 0);
    unlink(path);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, f->pair), 0);
}

void tear_down(struct fixture *f)
{
    ring_free(f->ring);
    close(f->file);
    close(f->pair[0]);
    close(f->pair[1]);
}

void await(struct fixture *f, const struct seen *s)
{
    int64_t deadline_ns = clock_now_ns() + 5 * NS_PER_S;
    while (s->count == 0) {
        assert_true(clock_now_ns() < deadline_ns);
        assert_int_equal(ring_turn(f->ring, NS_PER_S), 0);
    }
}
