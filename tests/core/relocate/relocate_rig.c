/* SPDX-License-Identifier: Apache-2.0 */
#include "relocate_rig.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "core/relocate/part_name.h"

static void reported(void *arg, const struct relocate_progress *p)
{
    struct rig *r = arg;
    if (r->reports > 0)
        r->backwards |= p->bytes < r->last.bytes || p->data_bytes < r->last.data_bytes ||
                        p->images_done < r->last.images_done;
    r->backwards |= p->bytes > p->total_bytes || p->data_bytes > p->total_data_bytes;
    r->last = *p;
    r->reports++;
}

static bool same_content(const struct memory_image *a, const struct memory_image *b)
{
    return a != NULL && b != NULL && a->attr.size_bytes == b->attr.size_bytes &&
           memcmp(a->durable, b->durable, a->attr.size_bytes) == 0;
}

/* Sources have the same name at both ends. */
static void publishing(void *arg, const struct memory_image *image, const char *name)
{
    struct rig *r = arg;
    if (!part_name_is(name) && !same_content(memory_find(&r->from, name), image))
        r->bad_name = true;
}

/* Each run starts its workers anew, and AddressSanitizer clears the shadow of all of their stacks. */
static void small_stacks(void)
{
    pthread_attr_t attr;
    assert_int_equal(pthread_attr_init(&attr), 0);
    assert_int_equal(pthread_attr_setstacksize(&attr, 256 * KIB), 0);
    assert_int_equal(pthread_setattr_default_np(&attr), 0);
    pthread_attr_destroy(&attr);
}

void rig_set_up(struct rig *r)
{
    small_stacks();
    memset(r, 0, sizeof *r);
    memory_world_init(&r->world);
    memory_server_init(&r->from, &r->world, "from:");
    memory_server_init(&r->to, &r->world, "to:");
    r->from_site = memory_site(&r->from);
    r->to_site = memory_site(&r->to);
    r->to.align_bytes = 1;
    r->to.publishing = publishing;
    r->to.publishing_arg = r;
    r->options = (struct relocate_options){
        .chunk_sums = true, /* unless a test asks for more: several workers then share an image */
        .ring = RING_SYSCALLS,
        .format = IMAGE_FORMAT_ASK_RAW, /* nothing is read but the content */
        .workers_max = 3,
        .depth_max = 4,
        .block_bytes = RIG_BLOCK_BYTES,
        .chunk_bytes = RIG_CHUNK_BYTES,
        .flight_bytes = 12 * RIG_BLOCK_BYTES,
        .fixed = true,
        .progress = reported,
        .progress_arg = r,
    };
}

/* A hole first, unaligned edges, two extents on one page, data in most chunks, a hole last. */
void rig_set_up_image(struct rig *r)
{
    static const struct store_extent extents[] = {
        {5000, 100},           {70 * KIB, 50}, {70 * KIB + 100, 70 * KIB}, {300 * KIB, 500 * KIB},
        {900 * KIB, 10 * KIB},
    };
    rig_set_up(r);
    memory_add(&r->from, "image", RIG_SIZE_BYTES, extents, sizeof extents / sizeof *extents);
    rig_source(r, "image");
}

void rig_tear_down(struct rig *r)
{
    relocate_free(r->r);
    assert_int_equal(r->from.open_places, 0);
    assert_int_equal(r->to.open_places, 0);
    memory_server_free(&r->from);
    memory_server_free(&r->to);
    memory_world_free(&r->world);
}

void rig_source(struct rig *r, const char *name)
{
    assert_true(r->n_sources < RIG_SOURCES);
    r->sources[r->n_sources++] = (struct relocate_source){&r->from_site.site, name, name};
}

struct memory_image *rig_add_dense(struct rig *r, const char *name, uint64_t size)
{
    const struct store_extent all = {0, size};
    struct memory_image *image = memory_add(&r->from, name, size, &all, size > 0);
    rig_source(r, name);
    return image;
}

struct memory_image *rig_plant(struct rig *r, const char *name)
{
    const struct memory_image *from = memory_find(&r->from, name);
    struct memory_image *to =
        memory_add(&r->to, name, from->attr.size_bytes, from->extents, from->n_extents);
    memcpy(to->cached, from->cached, from->attr.size_bytes);
    memcpy(to->durable, from->durable, from->attr.size_bytes);
    to->attr.mode = from->attr.mode;
    to->attr.mtime_ns = from->attr.mtime_ns;
    return to;
}

int rig_run(struct rig *r)
{
    relocate_free(r->r);
    r->e = (struct err){0};
    r->last = (struct relocate_progress){0};
    r->reports = 0;
    r->r = relocate_plan(r->sources, r->n_sources, &r->to_site.site, &r->options, &r->e);
    return r->r != NULL ? relocate_run(r->r, &r->e) : -1;
}

void rig_alone(struct rig *r)
{
    r->options.workers_max = r->options.depth_max = 1;
    r->options.flight_bytes = r->options.block_bytes;
}

void rig_again(struct rig *r)
{
    memory_world_revive(&r->world);
    memory_server_restore(&r->from);
    memory_server_restore(&r->to);
}

const struct relocate_image *rig_image(const struct rig *r, size_t i)
{
    return r->r != NULL ? relocate_image(r->r, i) : NULL;
}

bool rig_kept(const struct rig *r)
{
    const struct relocate_image *image;
    for (size_t i = 0; (image = rig_image(r, i)) != NULL; i++)
        if (image->state == RELOCATE_KEPT)
            return true;
    return false;
}

bool rig_left(const struct rig *r)
{
    for (size_t i = 0; i < r->to.n_images; i++)
        if (strstr(r->to.images[i]->name, ".godwit-") != NULL)
            return true;
    return false;
}

bool rig_same(const struct rig *r, const char *name)
{
    const struct memory_image *from = memory_find(&r->from, name);
    const struct memory_image *to = memory_find(&r->to, name);
    return same_content(from, to) && from->attr.mode == to->attr.mode &&
           from->attr.uid == to->attr.uid && from->attr.gid == to->attr.gid &&
           from->attr.mtime_ns == to->attr.mtime_ns;
}

static void assert_sum(const struct rig *r, const struct relocate_image *image)
{
    const struct memory_image *from = memory_find(&r->from, image->name);
    XXH128_canonical_t sum;
    char hex[CHECKSUM_HEX_MAX];
    XXH128_canonicalFromHash(&sum, XXH3_128bits(from->cached, from->attr.size_bytes));
    for (size_t i = 0; i < sizeof sum.digest; i++)
        snprintf(hex + 2 * i, 3, "%02x", sum.digest[i]);
    assert_string_equal(image->xxh3_128, hex);
}

void rig_assert_given_back(struct rig *r)
{
    assert_int_equal(r->from.open_files, 0);
    assert_int_equal(r->to.open_files, 0);
    assert_in_range(r->from.open_places, 0, r->r != NULL); /* what a plan has, it keeps */
    assert_in_range(r->to.open_places, 0, r->r != NULL);
    assert_int_equal(r->to.early_names, 0);
    assert_false(r->bad_name);
    assert_false(r->backwards);
}

void rig_assert_landed(struct rig *r)
{
    const struct relocate_image *image;
    size_t n = 0;
    assert_int_equal(r->e.class, ERR_NONE);
    for (; (image = rig_image(r, n)) != NULL; n++) {
        assert_int_equal(image->state, RELOCATE_DONE);
        assert_true(rig_same(r, image->as));
        assert_int_equal(image->bytes, memory_find(&r->from, image->name)->attr.size_bytes);
        if (r->options.whole_sums || image->xxh3_128[0] != '\0')
            assert_sum(r, image);
    }
    const struct relocate_totals *totals = relocate_totals(r->r);
    assert_int_equal(totals->images, n);
    assert_int_equal(totals->images_done, n);
    assert_int_equal(r->last.images_done, n);
    assert_int_equal(r->last.bytes, r->last.total_bytes);
    assert_int_equal(r->last.data_bytes, r->last.total_data_bytes);
    assert_false(rig_left(r));
    rig_assert_given_back(r);
}

void rig_assert_undone(struct rig *r)
{
    assert_int_not_equal(r->e.class, ERR_NONE);
    assert_null(memory_find(&r->to, "image"));
    bool part = memory_find(&r->to, RIG_PART) != NULL;
    bool journal = memory_find(&r->to, RIG_JOURNAL) != NULL;
    assert_int_equal(part, rig_kept(r));
    assert_int_equal(journal, rig_kept(r));
    rig_assert_given_back(r);
}

void rig_assert_refused(struct rig *r, const char *said)
{
    assert_null(r->r);
    assert_int_equal(r->e.class, ERR_REFUSED);
    if (strstr(r->e.msg, said) == NULL)
        assert_non_null(strstr(r->e.hint, said));
    rig_assert_untouched(r);
}

void rig_assert_untouched(struct rig *r)
{
    static const enum memory_op changes[] = {MEMORY_CREATE, MEMORY_UPDATE,  MEMORY_MAKE_DIRECTORY,
                                             MEMORY_WRITE,  MEMORY_PUBLISH, MEMORY_REMOVE};
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++)
        assert_int_equal(r->from.done[changes[i]] + r->to.done[changes[i]], 0);
    rig_assert_given_back(r);
}

void rig_set_up_kept(struct rig *r)
{
    rig_set_up_image(r);
    r->to.faults = (struct memory_faults){.only = "-part", .fail_at = 38, .fail_errno = EIO};
    assert_int_equal(rig_run(r), -1);
    assert_true(rig_kept(r));
    rig_again(r);
}

void rig_set_up_published(struct rig *r)
{
    rig_set_up_image(r);
    rig_alone(r);
    assert_int_equal(rig_run(r), 0);
    unsigned n = (unsigned)memory_last(&r->to, MEMORY_PUBLISH, "image") + 1;
    rig_tear_down(r);
    rig_set_up_image(r);
    rig_alone(r);
    r->world.die_at = n;
    r->world.death = DEATH_AFTER;
    assert_int_equal(rig_run(r), -1);
    assert_true(rig_same(r, "image"));
    assert_non_null(memory_find(&r->to, RIG_JOURNAL));
    rig_again(r);
    r->to.publishing = NULL;
    r->options.move = true;
}
