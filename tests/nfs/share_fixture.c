/* SPDX-License-Identifier: Apache-2.0 */
#include "share_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/clock.h"
#include "core/log.h"

static unsigned warnings;
volatile sig_atomic_t share_fixture_cancel;

const struct store_attr share_fixture_attr = {
    .mode = 0640, .uid = 1, .gid = 1, .atime_ns = NS_PER_S, .mtime_ns = 1234 * NS_PER_S};

static void count_warnings(enum log_level level, const char *line)
{
    warnings += level == LOG_WARN;
    if (getenv("VERBOSE") != NULL)
        fprintf(stderr, "%s\n", line);
}

void share_fixture_set_up(struct fixture *f, const struct fake_faults *faults, void **state)
{
    const struct variant *v = *state;
    *f = (struct fixture){.path = v->path, .timeout_ns = 2 * NS_PER_S};
    for (unsigned i = 0; i < SIZE; i++)
        f->data[i] = (unsigned char)(i * 7 + i / 251);
    f->server = fake_server_start(faults);
    f->ring = ring_new(v->backend, &f->e);
    assert_non_null(f->ring);
    warnings = 0;
    share_fixture_cancel = 0;
    log_set_sink(count_warnings);
}

int share_fixture_open(struct fixture *f, const char *path)
{
    char url[200];
    int port = fake_server_port(f->server);
    snprintf(url, sizeof url, "nfs://127.0.0.1%s?nfsport=%d&mountport=%d", path, port, port);
    const struct share_options options = {
        .timeout_ns = f->timeout_ns, .path = f->path, .cancel = &share_fixture_cancel};
    f->place = share_open(f->ring, url, &options, &f->e);
    return f->place != NULL ? 0 : -1;
}

void share_fixture_start(struct fixture *f, const struct fake_faults *faults, void **state)
{
    share_fixture_set_up(f, faults, state);
    assert_int_equal(share_fixture_open(f, "/export"), 0);
}

void share_fixture_end(struct fixture *f)
{
    f->warnings = warnings;
    if (f->place != NULL)
        f->place->ops->place_close(f->place);
    f->place = NULL;
    fake_server_stop(f->server);
}

void share_fixture_tear_down(struct fixture *f)
{
    ring_free(f->ring);
    fake_server_free(f->server);
}

static void count_done(struct store_io *io)
{
    ++*(unsigned *)io->arg;
}

void share_fixture_run(struct fixture *f, share_fixture_io_fn *fn, struct store_io *ios,
                       unsigned count)
{
    unsigned done = 0;
    int64_t start_ns = clock_now_ns();
    for (unsigned i = 0; i < count; i++) {
        ios[i].done = count_done;
        ios[i].arg = &done;
        fn(&ios[i]);
    }
    assert_int_equal(done, 0); /* never from within the call */
    while (done < count) {
        assert_int_equal(ring_turn(f->ring, NS_PER_S), 0);
        assert_true(clock_now_ns() - start_ns < 30 * NS_PER_S);
    }
    for (unsigned i = 0; i < 3; i++)
        ring_turn(f->ring, 0);
    assert_int_equal(done, count); /* once each */
}

int share_fixture_remove(struct fixture *f, const char *name)
{
    struct store_attr is = {0};
    int found = f->place->ops->lookup(f->place, name, &is, &f->e);
    return found < 0 ? -1 : f->place->ops->remove(f->place, name, &is, &f->e);
}
