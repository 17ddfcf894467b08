/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * Data moves in batches: up to STAGE_BLOCKS blocks are under way at once, and the next batch begins
 * when all of them are done. That leaves the pipe empty for a moment each time, which nobody
 * measures, and it keeps blocks in order for the checksum.
 *
 * The buffers are mapped for one call each and then given back, because what this process has in
 * memory counts to the peak of the programs that it starts (bench/child.c).
 */
#include "bench/relocate/stage.h"

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
    STAGE_BLOCKS = 16,
    STAGE_BLOCK_BYTES = 1 << 20,
    STAGE_FILL = 0xb5, /* of the ballast: anything but zeros, which might stay holes */
    STAGE_RETRIES = 2, /* of a write that the server has lost before its commit */
};

static const char stage_ballast_name[] = "godwit-bench.ballast";
static const char stage_leftover_mark[] = ".godwit-";

struct stage {
    struct ring *ring;
    struct store_place *place;
    const volatile sig_atomic_t *cancel;
};

struct stage_block {
    struct store_io io;
    uint64_t offset;
    uint32_t len_bytes, done_bytes;
    bool answered;
    bool stable;
    uint8_t verifier[STORE_VERIFIER_BYTES];
};

struct stage_batch {
    struct stage *stage;
    struct store_file *file;
    void (*op)(struct store_io *io);
    uint8_t *buffers; /* STAGE_BLOCKS × STAGE_BLOCK_BYTES */
    struct stage_block block[STAGE_BLOCKS];
    size_t n;
};

/* Without `cancel`: what is to be removed after an interrupt must not be given up at once. */
static struct store_place *stage_place(struct ring *ring, const char *where, struct err *e)
{
    const struct store_local_options local = {.nice_cache = false};
    const struct share_options share = {.path = SHARE_PATH_AUTO};
    if (strncmp(where, "nfs:", 4) == 0)
        return share_open(ring, where, &share, e);
    return store_local_open(ring, where, &local, e);
}

struct stage *stage_open(struct ring *ring, const char *where, const volatile sig_atomic_t *cancel,
                         struct err *e)
{
    struct stage *s = calloc(1, sizeof *s);
    if (s == NULL) {
        err_set(e, ERR_IO, ENOMEM, "%s", where);
        return NULL;
    }
    s->ring = ring;
    s->cancel = cancel;
    s->place = stage_place(ring, where, e);
    if (s->place == NULL) {
        free(s);
        return NULL;
    }
    return s;
}

void stage_close(struct stage *s)
{
    if (s == NULL)
        return;
    s->place->ops->place_close(s->place);
    free(s);
}

static int stage_go_on(const struct stage *s, struct err *e)
{
    return *s->cancel == 0 ? 0 : err_set(e, ERR_CANCELLED, 0, "interrupted");
}

/* ---- batches ---- */

static int stage_batch_init(struct stage_batch *b, struct stage *s, struct err *e)
{
    *b = (struct stage_batch){.stage = s};
    b->buffers = mmap(NULL, (size_t)STAGE_BLOCKS * STAGE_BLOCK_BYTES, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (b->buffers != MAP_FAILED)
        return 0;
    b->buffers = NULL;
    return err_set(e, ERR_IO, errno, "buffers");
}

static void stage_batch_end(struct stage_batch *b)
{
    if (b->file != NULL)
        b->stage->place->ops->file_close(b->file);
    if (b->buffers != NULL)
        munmap(b->buffers, (size_t)STAGE_BLOCKS * STAGE_BLOCK_BYTES);
}

static uint8_t *stage_buffer(const struct stage_batch *b, size_t i)
{
    return b->buffers + i * STAGE_BLOCK_BYTES;
}

/* Cuts what lies at `offset` into blocks; returns how much that is, at most `len_bytes`. */
static uint64_t stage_batch_cut(struct stage_batch *b, uint64_t offset, uint64_t len_bytes)
{
    uint32_t most = b->stage->place->io_max_bytes;
    uint64_t begin = offset;
    if (most > STAGE_BLOCK_BYTES)
        most = STAGE_BLOCK_BYTES;
    for (b->n = 0; b->n < STAGE_BLOCKS && len_bytes > 0; b->n++) {
        uint32_t len = len_bytes < most ? (uint32_t)len_bytes : most;
        b->block[b->n] = (struct stage_block){.offset = offset, .len_bytes = len};
        offset += len;
        len_bytes -= len;
    }
    return offset - begin;
}

static void stage_answered(struct store_io *io)
{
    struct stage_block *k = io->arg;
    k->answered = true;
}

/* Starts what of block `i` remains. */
static void stage_start(struct stage_batch *b, size_t i)
{
    struct stage_block *k = &b->block[i];
    k->answered = false;
    k->io = (struct store_io){
        .file = b->file,
        .buf = stage_buffer(b, i) + k->done_bytes,
        .offset = k->offset + k->done_bytes,
        .len_bytes = k->len_bytes - k->done_bytes,
        .done = stage_answered,
        .arg = k,
    };
    b->op(&k->io);
}

static int stage_await(struct stage *s, const bool *answered, struct err *e)
{
    while (!*answered) {
        int rc = ring_turn(s->ring, NS_PER_S);
        if (rc < 0)
            return err_set(e, ERR_IO, -rc, "the ring of the benchmark");
    }
    return 0;
}

/* Takes the answer of a block; 1: it has to go on. */
static int stage_take(struct stage_batch *b, struct stage_block *k, struct err *e)
{
    const char *name = b->file->name;
    if (k->io.res < 0)
        return err_set(e, k->io.fault, -k->io.res, "%s%s: at %" PRIu64, b->stage->place->url, name,
                       k->io.offset);
    if (k->io.res == 0)
        return err_set(e, ERR_IO, 0, "%s%s: ends at %" PRIu64 ", too soon", b->stage->place->url,
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
static int stage_batch_run(struct stage_batch *b, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; i < b->n; i++)
        stage_start(b, i);
    for (size_t i = 0; i < b->n; i++) {
        struct err own = {0};
        int more;
        while ((more = stage_await(b->stage, &b->block[i].answered, &own)) == 0 &&
               (more = stage_take(b, &b->block[i], &own)) > 0)
            stage_start(b, i);
        if (more < 0 && rc == 0) { /* the others must be waited for all the same */
            *e = own;
            rc = -1;
        }
    }
    return rc;
}

static int stage_commit(struct stage_batch *b, uint8_t verifier[STORE_VERIFIER_BYTES],
                        struct err *e)
{
    struct stage_block k = {.answered = false};
    k.io = (struct store_io){.file = b->file, .done = stage_answered, .arg = &k};
    b->stage->place->ops->commit(&k.io);
    if (stage_await(b->stage, &k.answered, e) < 0)
        return -1;
    if (k.io.res < 0)
        return err_set(e, k.io.fault, -k.io.res, "%s%s: commit", b->stage->place->url,
                       b->file->name);
    memcpy(verifier, k.io.verifier, STORE_VERIFIER_BYTES);
    return 0;
}

/* ---- reading ---- */

static int stage_open_file(struct stage_batch *b, const char *name, enum store_how how,
                           uint64_t size_bytes, struct err *e)
{
    const struct store_ops *ops = b->stage->place->ops;
    if (how == STORE_READ && ops->read == NULL)
        return err_set(e, ERR_REFUSED, 0, "%s%s: cannot be read back", b->stage->place->url, name);
    if (how == STORE_CREATE && ops->write == NULL)
        return err_set(e, ERR_REFUSED, 0, "%s%s: cannot be written", b->stage->place->url, name);
    b->file = ops->open(b->stage->place, name, how, size_bytes, e);
    return b->file != NULL ? 0 : -1;
}

static int stage_read_range(struct stage_batch *b, uint64_t offset, uint64_t len_bytes,
                            struct checksum *sum, struct err *e)
{
    while (len_bytes > 0) {
        uint64_t n = stage_batch_cut(b, offset, len_bytes);
        if (stage_go_on(b->stage, e) < 0 || stage_batch_run(b, e) < 0)
            return -1;
        for (size_t i = 0; i < b->n; i++)
            checksum_add(sum, stage_buffer(b, i), b->block[i].len_bytes);
        offset += n;
        len_bytes -= n;
    }
    return 0;
}

static int stage_read_file(struct stage_batch *b, struct checksum *sum, struct err *e)
{
    const struct store_ops *ops = b->stage->place->ops;
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
        if (stage_read_range(b, begin, end - begin, sum, e) < 0)
            return -1;
        at = end;
    }
    return 0;
}

static void stage_checksum_free(struct checksum **c)
{
    checksum_free(*c);
}

int stage_read(struct stage *s, const char *name, struct stage_content *c, struct err *e)
{
    struct stage_batch b CLEANUP(stage_batch_end) = {0};
    struct checksum *sum CLEANUP(stage_checksum_free) = checksum_new();
    if (sum == NULL)
        return err_set(e, ERR_IO, ENOMEM, "%s", name);
    if (stage_batch_init(&b, s, e) < 0)
        return -1;
    if (stage_open_file(&b, name, STORE_READ, 0, e) < 0) {
        if (e->sys != ENOENT)
            return -1;
        err_clear(e);
        return 0;
    }
    if (stage_read_file(&b, sum, e) < 0)
        return -1;
    c->size_bytes = b.file->attr.size_bytes;
    checksum_hex(sum, c->xxh3_128);
    return 1;
}

/* ---- writing ---- */

/* Whether a commit with this verifier covers all blocks. */
static bool stage_is_durable(const struct stage_batch *b,
                             const uint8_t verifier[STORE_VERIFIER_BYTES])
{
    for (size_t i = 0; i < b->n; i++)
        if (!b->block[i].stable &&
            memcmp(b->block[i].verifier, verifier, STORE_VERIFIER_BYTES) != 0)
            return false;
    return true;
}

/* Writes what is in the buffers, and makes it durable. */
static int stage_write_batch(struct stage_batch *b, struct err *e)
{
    uint8_t verifier[STORE_VERIFIER_BYTES] = {0};
    for (unsigned tries = 0; tries <= STAGE_RETRIES; tries++) {
        for (size_t i = 0; i < b->n; i++)
            b->block[i].done_bytes = 0;
        b->op = b->stage->place->ops->write;
        if (stage_go_on(b->stage, e) < 0 || stage_batch_run(b, e) < 0 ||
            stage_commit(b, verifier, e) < 0)
            return -1;
        if (stage_is_durable(b, verifier))
            return 0;
    }
    return err_set(e, ERR_NFS, 0, "%s%s: the server loses what is written", b->stage->place->url,
                   b->file->name);
}

static int stage_write_ballast(struct stage_batch *b, uint64_t size_bytes, struct err *e)
{
    memset(b->buffers, STAGE_FILL, (size_t)STAGE_BLOCKS * STAGE_BLOCK_BYTES);
    for (uint64_t at = 0; at < size_bytes;) {
        at += stage_batch_cut(b, at, size_bytes - at);
        if (stage_write_batch(b, e) < 0)
            return -1;
    }
    return 0;
}

int stage_ballast(struct stage *s, uint64_t size_bytes, struct err *e)
{
    struct stage_batch b CLEANUP(stage_batch_end) = {0};
    if (stage_batch_init(&b, s, e) < 0 ||
        stage_open_file(&b, stage_ballast_name, STORE_CREATE, size_bytes, e) < 0)
        return -1;
    int rc = stage_write_ballast(&b, size_bytes, e);
    s->place->ops->file_close(TAKE(b.file));
    struct err second = {0};
    if (stage_remove(s, stage_ballast_name, &second) < 0 && rc == 0) {
        *e = second;
        rc = -1;
    }
    return rc;
}

/* Fills the buffers from the file. */
static int stage_load(struct stage_batch *b, int fd, const char *path, struct err *e)
{
    for (size_t i = 0; i < b->n; i++) {
        struct stage_block *k = &b->block[i];
        for (uint32_t at = 0; at < k->len_bytes;) {
            ssize_t n = pread(fd, stage_buffer(b, i) + at, k->len_bytes - at,
                              (off_t)(k->offset + at));
            if (n < 0 && errno == EINTR)
                continue;
            if (n <= 0)
                return err_set(e, ERR_IO, n < 0 ? errno : EIO, "%s: cannot read", path);
            at += (uint32_t)n;
        }
    }
    return 0;
}

static int stage_put_data(struct stage_batch *b, int fd, const char *path, off_t size,
                          struct err *e)
{
    for (off_t at = 0; (at = lseek(fd, at, SEEK_DATA)) >= 0 && at < size;) {
        off_t end = lseek(fd, at, SEEK_HOLE);
        while (at < end) {
            at += (off_t)stage_batch_cut(b, (uint64_t)at, (uint64_t)(end - at));
            if (stage_load(b, fd, path, e) < 0 || stage_write_batch(b, e) < 0)
                return -1;
        }
    }
    return 0;
}

int stage_put(struct stage *s, const char *path, const char *name, struct err *e)
{
    CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stage_batch b CLEANUP(stage_batch_end) = {0};
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_set(e, ERR_IO, errno, "%s", path);
    if (stage_batch_init(&b, s, e) < 0 ||
        stage_open_file(&b, name, STORE_CREATE, (uint64_t)st.st_size, e) < 0)
        return -1;
    return stage_put_data(&b, fd, path, st.st_size, e);
}

/* ---- names ---- */

int stage_make_directory(struct stage *s, const char *name, struct err *e)
{
    struct store_file *f = s->place->ops->open(s->place, name, STORE_MAKE_DIRECTORY, 0, e);
    if (f == NULL)
        return -1;
    s->place->ops->file_close(f);
    return 0;
}

int stage_remove(struct stage *s, const char *name, struct err *e)
{
    struct store_attr attr;
    int found = s->place->ops->lookup(s->place, name, &attr, e);
    return found > 0 ? s->place->ops->remove(s->place, name, &attr, e) : found;
}

struct stage_leftovers {
    struct stage *stage;
    const char *directory;
    stage_ours_fn *ours;
    void *arg;
    bool remove; /* else the first one is refused */
};

static int stage_leftover(void *arg, const char *entry, const struct store_attr *attr,
                          struct err *e)
{
    const struct stage_leftovers *l = arg;
    char base[STORE_NAME_MAX + 1], path[2 * STORE_NAME_MAX + 3];
    const char *mark = strstr(entry, stage_leftover_mark);
    (void)attr;
    if (entry[0] != '.' || mark == NULL)
        return 0;
    snprintf(base, sizeof base, "%.*s", (int)(mark - entry - 1), entry + 1);
    if (!l->ours(l->arg, base))
        return 0;
    snprintf(path, sizeof path, "%s%s%s", l->directory, l->directory[0] != '\0' ? "/" : "", entry);
    if (l->remove)
        return stage_remove(l->stage, path, e);
    err_set(e, ERR_REFUSED, 0, "%s%s: is left of a relocation that was interrupted",
            l->stage->place->url, path);
    return err_hint(e, "finish that one first, or use another directory");
}

static int stage_leftovers(struct stage_leftovers *l, struct err *e)
{
    struct store_place *place = l->stage->place;
    struct store_attr attr;
    int found = place->ops->lookup(place, l->directory, &attr, e);
    if (found <= 0)
        return found;
    return place->ops->list(place, l->directory, stage_leftover, l, e);
}

int stage_check_leftovers(struct stage *s, const char *directory, stage_ours_fn *ours, void *arg,
                          struct err *e)
{
    struct stage_leftovers l = {s, directory, ours, arg, false};
    return stage_leftovers(&l, e);
}

int stage_remove_leftovers(struct stage *s, const char *directory, stage_ours_fn *ours, void *arg,
                           struct err *e)
{
    struct stage_leftovers l = {s, directory, ours, arg, true};
    return stage_leftovers(&l, e);
}

int stage_check_absent(struct stage *s, const char *name, struct err *e)
{
    struct store_attr attr;
    int found = s->place->ops->lookup(s->place, name, &attr, e);
    if (found <= 0)
        return found;
    err_set(e, ERR_REFUSED, 0, "%s%s: exists", s->place->url, name);
    return err_hint(e, "a benchmark writes and removes that name: use an empty directory");
}
