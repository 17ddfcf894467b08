/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a server may answer to all that is asked of it one at a time: mounting, looking up, listing,
 * creating, publishing. libnfs decodes it, and nfs/ makes something of it.
 *
 * The answers are those of the tests' server, with wrong bytes in them. An input is the data path,
 * and then four bytes each: the call, the offset in its answer, and the byte. Whatever comes: a
 * function that fails gives a reason, an entry has a name of one component, and a read gives no more
 * than was asked for. What the answers say may be wrong; that it is used beyond what it is may not.
 *
 * libnfs 4.0 does not stand all of that: nfs/share_guard.h keeps from it what is no answer.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/log.h"
#include "nfs/share.h"
#include "tests/nfs/fake_server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PATCHES_MAX = 64, BYTES = 5000 };

#define REQUIRE(condition)                                                        \
    do {                                                                          \
        if (!(condition)) {                                                       \
            fprintf(stderr, "fuzz_answers: line %d: %s\n", __LINE__, #condition); \
            abort();                                                              \
        }                                                                         \
    } while (0)

static void silent(enum log_level level, const char *line)
{
    (void)level;
    (void)line;
}

static int entry(void *arg, const char *name, const struct store_attr *attr, struct err *e)
{
    unsigned *n = arg;
    (void)attr;
    (void)e;
    REQUIRE(*name != '\0' && strchr(name, '/') == NULL);
    REQUIRE(strcmp(name, ".") != 0 && strcmp(name, "..") != 0);
    return ++*n < 1000 ? 0 : -1;
}

static void read_done(struct store_io *io)
{
    *(bool *)io->arg = true;
}

static void read_some(struct store_place *p, struct ring *ring, struct store_file *f)
{
    static uint8_t buf[BYTES + 1];
    bool done = false;
    memset(buf, 0xa5, sizeof buf);
    struct store_io io = {
        .file = f, .buf = buf, .len_bytes = BYTES, .done = read_done, .arg = &done};
    p->ops->read(&io);
    while (!done)
        REQUIRE(ring_turn(ring, NS_PER_S) == 0);
    REQUIRE(io.res <= BYTES && buf[BYTES] == 0xa5);
}

static void use(struct store_place *p, struct ring *ring)
{
    static const struct store_attr attr = {.mode = 0640, .mtime_ns = NS_PER_S};
    struct store_attr is;
    struct err e = {0};
    unsigned n = 0;
    REQUIRE(p->ops->lookup(p, "dir/link", &is, &e) >= 0 || e.msg[0] != '\0');
    err_clear(&e);
    REQUIRE(p->ops->list(p, "dir", entry, &n, &e) >= 0 || n >= 1000 || e.msg[0] != '\0');
    err_clear(&e);
    struct store_file *f = p->ops->open(p, "dir/image", STORE_READ, 0, &e);
    REQUIRE(f != NULL || e.msg[0] != '\0');
    if (f != NULL) {
        read_some(p, ring, f);
        p->ops->file_close(f);
    }
    err_clear(&e);
    f = p->ops->open(p, "dir/.part", STORE_CREATE, BYTES, &e);
    REQUIRE(f != NULL || e.msg[0] != '\0');
    if (f == NULL)
        return;
    REQUIRE(p->ops->publish(f, "new", &attr, false, &e) >= 0 || e.msg[0] != '\0');
    p->ops->file_close(f);
}

static void run(const struct fake_faults *faults, enum share_path path)
{
    static const uint8_t bytes[BYTES];
    static _Atomic int one;
    char url[100];
    struct err e = {0};
    struct fake_server *s = fake_server_start(faults);
    fake_server_add_directory(s, "dir");
    fake_server_add_file(s, "dir/image", bytes, BYTES);
    fake_server_add_link(s, "dir/link", "image");
    snprintf(url, sizeof url, "nfs://127.0.0.1/export?nfsport=%d&mountport=%d", fake_server_port(s),
             fake_server_port(s));
    struct ring *ring = ring_new(RING_SYSCALLS, &e);
    REQUIRE(ring != NULL);
    const struct share_options o = {
        .timeout_ns = 100 * NS_PER_MS, .path = path, .connections_left = &one};
    struct store_place *p = share_open(ring, url, &o, &e);
    REQUIRE(p != NULL || e.msg[0] != '\0');
    if (p != NULL) {
        use(p, ring);
        p->ops->place_close(p);
    }
    ring_free(ring);
    fake_server_stop(s);
    fake_server_free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fake_patch patches[PATCHES_MAX];
    struct fake_faults faults = {.patches = patches,
                                 .no_plus = size > 0 && (data[0] & 2) != 0,
                                 .bare = size > 0 && (data[0] & 4) != 0};
    enum share_path path = size > 0 && (data[0] & 1) != 0 ? SHARE_PATH_LIBNFS : SHARE_PATH_AUTO;
    for (size_t at = 1; at + 4 <= size && faults.n_patches < PATCHES_MAX; at += 4)
        patches[faults.n_patches++] =
            (struct fake_patch){.call = data[at],
                                .offset = (uint16_t)(data[at + 1] << 8 | data[at + 2]),
                                .value = data[at + 3]};
    log_set_sink(silent);
    run(&faults, path);
    return 0;
}
