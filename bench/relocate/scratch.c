/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * Data moves in batches: up to SCRATCH_BLOCKS blocks are under way at once, and the next batch
 * begins when all of them are done. That leaves the pipe empty for a moment each time, which nobody
 * measures, and it keeps blocks in order for the checksum.
 *
 * The buffers are mapped for one call each and then given back, because what this process has in
 * memory counts to the peak of the programs that it starts (bench/child.c).
 */
#include "bench/relocate/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/store/store_local.h"
#include "nfs/share.h"

enum {
    SCRATCH_BLOCKS = 16,
    SCRATCH_BLOCK_BYTES = 1 << 20,
    SCRATCH_FILL = 0xb5, /* of the ballast: anything but zeros, which might stay holes */
    SCRATCH_RETRIES = 2, /* of a write that the server has lost before its commit */
};

static const char scratch_ballast_name[] = "godwit-bench.ballast";
static const char scratch_leftover_mark[] = ".godwit-";

struct scratch {
    struct ring *ring;
    struct store_place *place;
    const volatile sig_atomic_t *cancel;
};

struct scratch_block {
    struct store_io io;
    uint64_t offset;
    uint32_t len_bytes, done_bytes;
    bool answered;
    bool stable;
    uint8_t verifier[STORE_VERIFIER_BYTES];
};

struct scratch_batch {
    struct scratch *scratch;
    struct store_file *file;
    void (*op)(struct store_io *io);
    uint8_t *buffers; /* SCRATCH_BLOCKS × SCRATCH_BLOCK_BYTES */
    struct scratch_block block[SCRATCH_BLOCKS];
    size_t n;
};

/* Without `cancel`: what is to be removed after an interrupt must not be given up at once. */
static struct store_place *scratch_place(struct ring *ring, const char *where, struct err *e)
{
    const struct store_local_options local = {.nice_cache = false};
    const struct share_options share = {.path = SHARE_PATH_AUTO};
    if (strncmp(where, "nfs:", 4) == 0)
        return share_open(ring, where, &share, e);
    return store_local_open(ring, where, &local, e);
}

struct scratch *scratch_open(struct ring *ring, const char *where,
                             const volatile sig_atomic_t *cancel, struct err *e)
{
    struct scratch *s = calloc(1, sizeof *s);
    if (s == NULL) {
        err_set(e, ERR_IO, ENOMEM, "%s: cannot open it", where);
        return NULL;
    }
    s->ring = ring;
    s->cancel = cancel;
    s->place = scratch_place(ring, where, e);
    if (s->place == NULL) {
        free(s);
        return NULL;
    }
    return s;
}

void scratch_close(struct scratch *s)
{
    if (s == NULL)
        return;
    s->place->ops->place_close(s->place);
    free(s);
}

static int scratch_go_on(const struct scratch *s, struct err *e)
{
    return *s->cancel == 0 ? 0 : err_set(e, ERR_CANCELLED, 0, "interrupted");
}

/* ---- batches ---- */

static int scratch_batch_init(struct scratch_batch *b, struct scratch *s, struct err *e)
{
    *b = (struct scratch_batch){.scratch = s};
    b->buffers = mmap(NULL, (size_t)SCRATCH_BLOCKS * SCRATCH_BLOCK_BYTES, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (b->buffers != MAP_FAILED)
        return 0;
    b->buffers = NULL;
    return err_set(e, ERR_IO, errno, "cannot make buffers");
}

static void scratch_batch_end(struct scratch_batch *b)
{
    if (b->file != NULL)
        b->scratch->place->ops->file_close(b->file);
    if (b->buffers != NULL)
        munmap(b->buffers, (size_t)SCRATCH_BLOCKS * SCRATCH_BLOCK_BYTES);
}

static uint8_t *scratch_buffer(const struct scratch_batch *b, size_t i)
{
    return b->buffers + i * SCRATCH_BLOCK_BYTES;
}

/* Cuts what lies at `offset` into blocks; returns how much that is, at most `len_bytes`. */
static uint64_t scratch_batch_cut(struct scratch_batch *b, uint64_t offset, uint64_t len_bytes)
{
    uint32_t most = b->scratch->place->io_max_bytes;
    uint64_t begin = offset;
    if (most > SCRATCH_BLOCK_BYTES)
        most = SCRATCH_BLOCK_BYTES;
    for (b->n = 0; b->n < SCRATCH_BLOCKS && len_bytes > 0; b->n++) {
        uint32_t len = len_bytes < most ? (uint32_t)len_bytes : most;
        b->block[b->n] = (struct scratch_block){.offset = offset, .len_bytes = len};
        offset += len;
        len_bytes -= len;
    }
    return offset - begin;
}

static void scratch_answered(struct store_io *io)
{
    struct scratch_block *k = io->arg;
    k->answered = true;
}

/* Starts what of block `i` remains. */
static void scratch_start(struct scratch_batch *b, size_t i)
{
    struct scratch_block *k = &b->block[i];
    k->answered = false;
    k->io = (struct store_io){
        .file = b->file,
        .buf = scratch_buffer(b, i) + k->done_bytes,
        .offset = k->offset + k->done_bytes,
        .len_bytes = k->len_bytes - k->done_bytes,
        .done = scratch_answered,
        .arg = k,
    };
    b->op(&k->io);
}

static int scratch_await(struct scratch *s, const bool *answered, struct err *e)
{
    while (!*answered) {
        int rc = ring_turn(s->ring, NS_PER_S);
        if (rc < 0)
            return err_set(e, ERR_IO, -rc, "cannot wait for the benchmark's requests");
    }
    return 0;
}

/* Takes the answer of a block; 1: it has to go on. */
static int scratch_take(struct scratch_batch *b, struct scratch_block *k, struct err *e)
{
    const char *name = b->file->name;
    if (k->io.res < 0)
        return err_set(e, k->io.fault, -k->io.res, "%s%s: cannot go on at %" PRIu64,
                       b->scratch->place->url, name, k->io.offset);
    if (k->io.res == 0)
        return err_set(e, ERR_IO, 0, "%s%s: ends at %" PRIu64 ", too soon", b->scratch->place->url,
                       name, k->io.offset);
    k->stable = k->io.stable;
    memcpy(k->verifier, k->io.verifier, sizeof k->verifier);
    uint32_t done = k->done_bytes + (uint32_t)k->io.res;
    if (done == k->len_bytes) {
        k->done_bytes = done;
        return 0;
    }
    /* A short one goes on where the file's alignment permits it. */
    k->done_bytes = done - done % b->file->align_bytes;
    return 1;
}

/* Does the operation on all blocks, each to its end. */
static int scratch_batch_run(struct scratch_batch *b, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; i < b->n; i++)
        scratch_start(b, i);
    for (size_t i = 0; i < b->n; i++) {
        struct err own = {0};
        int more;
        while ((more = scratch_await(b->scratch, &b->block[i].answered, &own)) == 0 &&
               (more = scratch_take(b, &b->block[i], &own)) > 0)
            scratch_start(b, i);
        if (more < 0 && rc == 0) { /* the others must be waited for all the same */
            *e = own;
            rc = -1;
        }
    }
    return rc;
}

static int scratch_commit(struct scratch_batch *b, uint8_t verifier[STORE_VERIFIER_BYTES],
                          struct err *e)
{
    struct scratch_block k = {.answered = false};
    k.io = (struct store_io){.file = b->file, .done = scratch_answered, .arg = &k};
    b->scratch->place->ops->commit(&k.io);
    if (scratch_await(b->scratch, &k.answered, e) < 0)
        return -1;
    if (k.io.res < 0)
        return err_set(e, k.io.fault, -k.io.res, "%s%s: cannot commit it", b->scratch->place->url,
                       b->file->name);
    memcpy(verifier, k.io.verifier, STORE_VERIFIER_BYTES);
    return 0;
}

/* ---- reading ---- */

static int scratch_open_file(struct scratch_batch *b, const char *name, enum store_how how,
                             uint64_t size_bytes, struct err *e)
{
    const struct store_ops *ops = b->scratch->place->ops;
    if (how == STORE_READ && ops->read == NULL)
        return err_set(e, ERR_REFUSED, 0, "%s%s: cannot be read back", b->scratch->place->url,
                       name);
    if (how == STORE_CREATE && ops->write == NULL)
        return err_set(e, ERR_REFUSED, 0, "%s%s: cannot be written", b->scratch->place->url, name);
    b->file = ops->open(b->scratch->place, name, how, size_bytes, e);
    return b->file != NULL ? 0 : -1;
}

static int scratch_read_range(struct scratch_batch *b, uint64_t offset, uint64_t len_bytes,
                              struct checksum *sum, struct err *e)
{
    while (len_bytes > 0) {
        uint64_t n = scratch_batch_cut(b, offset, len_bytes);
        if (scratch_go_on(b->scratch, e) < 0 || scratch_batch_run(b, e) < 0)
            return -1;
        for (size_t i = 0; i < b->n; i++)
            checksum_add(sum, scratch_buffer(b, i), b->block[i].len_bytes);
        offset += n;
        len_bytes -= n;
    }
    return 0;
}

static int scratch_read_file(struct scratch_batch *b, struct checksum *sum, struct err *e)
{
    const struct store_ops *ops = b->scratch->place->ops;
    uint64_t size = b->file->attr.size_bytes;
    b->op = ops->read;
    for (uint64_t at = 0; at < size;) {
        struct store_extent x;
        int found = ops->extent(b->file, at, &x, e);
        if (found < 0)
            return -1;
        uint64_t begin = found > 0 && x.offset < size ? x.offset : size;
        if (begin < at)
            begin = at;
        uint64_t end = found > 0 && x.offset + x.len_bytes < size ? x.offset + x.len_bytes : size;
        checksum_add_zeros(sum, begin - at);
        if (scratch_read_range(b, begin, end - begin, sum, e) < 0)
            return -1;
        at = end;
    }
    return 0;
}

static void scratch_checksum_free(struct checksum **c)
{
    checksum_free(*c);
}

int scratch_read(struct scratch *s, const char *name, struct scratch_content *c, struct err *e)
{
    struct scratch_batch b CLEANUP(scratch_batch_end) = {0};
    struct checksum *sum CLEANUP(scratch_checksum_free) = checksum_new();
    if (sum == NULL)
        return err_set(e, ERR_IO, ENOMEM, "%s: cannot read it back", name);
    if (scratch_batch_init(&b, s, e) < 0)
        return -1;
    if (scratch_open_file(&b, name, STORE_READ, 0, e) < 0) {
        if (e->sys != ENOENT)
            return -1;
        err_clear(e);
        return 0;
    }
    if (scratch_read_file(&b, sum, e) < 0)
        return -1;
    c->size_bytes = b.file->attr.size_bytes;
    checksum_hex(sum, c->xxh3_128);
    return 1;
}

/* ---- writing ---- */

/* Whether a commit with this verifier covers all blocks. */
static bool scratch_is_durable(const struct scratch_batch *b,
                               const uint8_t verifier[STORE_VERIFIER_BYTES])
{
    for (size_t i = 0; i < b->n; i++)
        if (!b->block[i].stable &&
            memcmp(b->block[i].verifier, verifier, STORE_VERIFIER_BYTES) != 0)
            return false;
    return true;
}

/* Writes what is in the buffers, and makes it durable. */
static int scratch_write_batch(struct scratch_batch *b, struct err *e)
{
    uint8_t verifier[STORE_VERIFIER_BYTES] = {0};
    for (unsigned tries = 0; tries <= SCRATCH_RETRIES; tries++) {
        for (size_t i = 0; i < b->n; i++)
            b->block[i].done_bytes = 0;
        b->op = b->scratch->place->ops->write;
        if (scratch_go_on(b->scratch, e) < 0 || scratch_batch_run(b, e) < 0 ||
            scratch_commit(b, verifier, e) < 0)
            return -1;
        if (scratch_is_durable(b, verifier))
            return 0;
    }
    return err_set(e, ERR_NFS, 0, "%s%s: the server loses what is written", b->scratch->place->url,
                   b->file->name);
}

static int scratch_write_ballast(struct scratch_batch *b, uint64_t size_bytes, struct err *e)
{
    memset(b->buffers, SCRATCH_FILL, (size_t)SCRATCH_BLOCKS * SCRATCH_BLOCK_BYTES);
    for (uint64_t at = 0; at < size_bytes;) {
        at += scratch_batch_cut(b, at, size_bytes - at);
        if (scratch_write_batch(b, e) < 0)
            return -1;
    }
    return 0;
}

int scratch_ballast(struct scratch *s, uint64_t size_bytes, struct err *e)
{
    struct scratch_batch b CLEANUP(scratch_batch_end) = {0};
    if (scratch_batch_init(&b, s, e) < 0 ||
        scratch_open_file(&b, scratch_ballast_name, STORE_CREATE, size_bytes, e) < 0)
        return -1;
    int rc = scratch_write_ballast(&b, size_bytes, e);
    s->place->ops->file_close(TAKE(b.file));
    struct err second = {0};
    if (scratch_remove(s, scratch_ballast_name, &second) < 0 && rc == 0) {
        *e = second;
        rc = -1;
    }
    return rc;
}

/* Fills the buffers from the file. */
static int scratch_load(struct scratch_batch *b, int fd, const char *path, struct err *e)
{
    for (size_t i = 0; i < b->n; i++) {
        struct scratch_block *k = &b->block[i];
        for (uint32_t at = 0; at < k->len_bytes;) {
            ssize_t n =
                pread(fd, scratch_buffer(b, i) + at, k->len_bytes - at, (off_t)(k->offset + at));
            if (n < 0 && errno == EINTR)
                continue;
            if (n <= 0)
                return err_set(e, ERR_IO, n < 0 ? errno : EIO, "%s: cannot read", path);
            at += (uint32_t)n;
        }
    }
    return 0;
}

static int scratch_put_data(struct scratch_batch *b, int fd, const char *path, off_t size,
                            struct err *e)
{
    for (off_t at = 0; (at = lseek(fd, at, SEEK_DATA)) >= 0 && at < size;) {
        off_t end = lseek(fd, at, SEEK_HOLE);
        while (at < end) {
            at += (off_t)scratch_batch_cut(b, (uint64_t)at, (uint64_t)(end - at));
            if (scratch_load(b, fd, path, e) < 0 || scratch_write_batch(b, e) < 0)
                return -1;
        }
    }
    return 0;
}

int scratch_put(struct scratch *s, const char *path, const char *name, struct err *e)
{
    CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct scratch_batch b CLEANUP(scratch_batch_end) = {0};
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_set(e, ERR_IO, errno, "%s: cannot open it", path);
    if (scratch_batch_init(&b, s, e) < 0 ||
        scratch_open_file(&b, name, STORE_CREATE, (uint64_t)st.st_size, e) < 0)
        return -1;
    return scratch_put_data(&b, fd, path, st.st_size, e);
}

/* ---- names ---- */

int scratch_make_directory(struct scratch *s, const char *name, struct err *e)
{
    struct store_file *f = s->place->ops->open(s->place, name, STORE_MAKE_DIRECTORY, 0, e);
    if (f == NULL)
        return -1;
    s->place->ops->file_close(f);
    return 0;
}

int scratch_remove(struct scratch *s, const char *name, struct err *e)
{
    struct store_attr attr;
    int found = s->place->ops->lookup(s->place, name, &attr, e);
    return found > 0 ? s->place->ops->remove(s->place, name, &attr, e) : found;
}

struct scratch_leftovers {
    struct scratch *scratch;
    const char *directory;
    scratch_ours_fn *ours;
    void *arg;
    bool remove; /* else the first one is refused */
};

static int scratch_leftover(void *arg, const char *entry, const struct store_attr *attr,
                            struct err *e)
{
    const struct scratch_leftovers *l = arg;
    char base[STORE_NAME_MAX + 1], path[2 * STORE_NAME_MAX + 3];
    const char *mark = strstr(entry, scratch_leftover_mark);
    (void)attr;
    if (entry[0] != '.' || mark == NULL)
        return 0;
    snprintf(base, sizeof base, "%.*s", (int)(mark - entry - 1), entry + 1);
    if (!l->ours(l->arg, base))
        return 0;
    snprintf(path, sizeof path, "%s%s%s", l->directory, l->directory[0] != '\0' ? "/" : "", entry);
    if (l->remove)
        return scratch_remove(l->scratch, path, e);
    err_set(e, ERR_REFUSED, 0, "%s%s: is left over from an interrupted relocation",
            l->scratch->place->url, path);
    return err_hint(e, "finish that one first, or use another directory");
}

static int scratch_leftovers(struct scratch_leftovers *l, struct err *e)
{
    struct store_place *place = l->scratch->place;
    struct store_attr attr;
    int found = place->ops->lookup(place, l->directory, &attr, e);
    if (found <= 0)
        return found;
    return place->ops->list(place, l->directory, scratch_leftover, l, e);
}

int scratch_check_leftovers(struct scratch *s, const char *directory, scratch_ours_fn *ours,
                            void *arg, struct err *e)
{
    struct scratch_leftovers l = {s, directory, ours, arg, false};
    return scratch_leftovers(&l, e);
}

int scratch_remove_leftovers(struct scratch *s, const char *directory, scratch_ours_fn *ours,
                             void *arg, struct err *e)
{
    struct scratch_leftovers l = {s, directory, ours, arg, true};
    return scratch_leftovers(&l, e);
}

int scratch_check_absent(struct scratch *s, const char *name, struct err *e)
{
    struct store_attr attr;
    int found = s->place->ops->lookup(s->place, name, &attr, e);
    if (found <= 0)
        return found;
    err_set(e, ERR_REFUSED, 0, "%s%s: exists", s->place->url, name);
    return err_hint(e, "a benchmark writes and removes that name: use an empty directory");
}
