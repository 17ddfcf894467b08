/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The relocation engine acts on what is its own: a name or an inode number is not enough, and somebody else may be
 * at work.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/relocate/journal.h"
#include "core/relocate/part_name.h"
#include "relocate_rig.h"

/* ---- an inode number is no identity ---- */

/* The part is gone, and its inode is that of another file, under the final name. */
static void give_inode(struct rig *r, struct memory_image *other)
{
    other->attr.inode = memory_find(&r->to, RIG_PART)->attr.inode;
    memory_remove(&r->to, RIG_PART);
}

static void test_part_inode_elsewhere(void **state)
{
    (void)state;
    struct rig r;
    rig_set_up_kept(&r);
    give_inode(&r, memory_add(&r.to, "image", 19, NULL, 0));
    r.options.move = true;
    assert_int_equal(rig_run(&r), -1);
    rig_assert_refused(&r, "exists");
    assert_non_null(memory_find(&r.from, "image"));
    assert_int_equal(memory_find(&r.to, "image")->attr.size_bytes, 19);
    rig_tear_down(&r);
}

/* As large and as old as the source, too: compared before the source goes. */
static void test_part_inode_and_times(void **state)
{
    (void)state;
    for (int right = 0; right < 2; right++) {
        struct rig r;
        rig_set_up_kept(&r);
        struct memory_image *twin = rig_plant(&r, "image");
        give_inode(&r, twin);
        twin->cached[300 * KIB] ^= right ? 0 : 1;
        twin->durable[300 * KIB] ^= right ? 0 : 1;
        r.options.move = true;
        assert_int_equal(rig_run(&r), right ? 0 : -1);
        assert_int_equal(memory_find(&r.from, "image") == NULL, right);
        if (!right)
            assert_non_null(strstr(r.e.msg, "differs"));
        rig_tear_down(&r);
    }
}

static void test_published_is_on_record(void **state)
{
    (void)state;
    struct rig r;
    rig_set_up_published(&r);
    assert_int_equal(rig_run(&r), 0);
    assert_int_equal(r.from.read_bytes, 0); /* the journal proves it */
    assert_null(memory_find(&r.from, "image"));
    assert_non_null(memory_find(&r.to, "image"));
    assert_false(rig_left(&r));
    rig_tear_down(&r);
}

struct announced {
    struct rig *r;
    unsigned before, after;
    uint64_t inode;
};

static int announced(void *arg, const char *as, const struct store_attr *attr, struct err *e)
{
    struct announced *a = arg;
    const struct memory_image *named = memory_find(&a->r->to, as);
    (void)e;
    if (attr->ctime_ns == 0) {
        a->before += named == NULL;
        a->inode = attr->inode;
        assert_int_equal(attr->mtime_ns, memory_find(&a->r->from, as)->attr.mtime_ns);
    } else {
        a->after += named != NULL && named->attr.inode == attr->inode && attr->inode == a->inode;
    }
    return 0;
}

/* Who writes it down knows the image for its own, whenever it is killed. */
static void test_a_copy_is_announced_before_it_has_its_name(void **state)
{
    (void)state;
    struct rig r;
    struct announced a = {.r = &r};
    rig_set_up_image(&r);
    rig_alone(&r);
    r.options.published = announced;
    r.options.published_arg = &a;
    assert_int_equal(rig_run(&r), 0);
    rig_assert_landed(&r);
    assert_int_equal(a.before, 1);
    assert_int_equal(a.after, 1);
    rig_tear_down(&r);
}

static int somebody_uses_it(void *arg, const struct relocate_image *image,
                            const struct store_attr *attr, struct err *e)
{
    bool *whole = arg;
    *whole = strcmp(image->name, "image") == 0 && attr->size_bytes > 0;
    return err_set(e, ERR_REFUSED, 0, "domain g runs by now");
}

/* A guest was started while its image was copied. */
static void test_what_is_used_by_then_stays(void **state)
{
    (void)state;
    struct rig r;
    bool asked = false;
    rig_set_up_image(&r);
    r.options.move = true;
    r.options.may_remove = somebody_uses_it;
    r.options.may_remove_arg = &asked;
    assert_int_equal(rig_run(&r), -1);
    assert_true(asked);
    assert_non_null(memory_find(&r.from, "image"));
    assert_true(rig_same(&r, "image"));
    assert_int_equal(r.e.class, ERR_IO); /* not "nothing was done" */
    assert_non_null(strstr(r.e.msg, "stands there whole, and its source stays"));
    assert_non_null(strstr(r.e.msg, "domain g runs by now"));
    rig_tear_down(&r);
}

/* It was written to since, or the store cannot tell one file from another: then it is compared. */
static void test_published_is_compared(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        struct rig r;
        rig_set_up_published(&r);
        struct memory_image *image = memory_find(&r.to, "image");
        image->cached[300 * KIB] ^= 1;
        image->durable[300 * KIB] ^= 1;
        if (kind == 0)
            image->attr.mtime_ns += 1234567;
        else if (kind == 1)
            image->attr.generation += 2;
        else
            image->attr.generation = 0;
        assert_int_equal(rig_run(&r), -1);
        assert_non_null(memory_find(&r.from, "image"));
        assert_non_null(memory_find(&r.to, "image"));
        rig_tear_down(&r);
    }
}

/* A death between the new name and the old one's end leaves both, of one file: nothing may be written
 * to it any more. */
static void test_a_file_of_two_names_is_not_written_to(void **state)
{
    (void)state;
    struct rig r;
    rig_set_up_published(&r);
    struct memory_image *image = memory_find(&r.to, "image");
    struct memory_image *second = memory_add(&r.to, RIG_PART, RIG_SIZE_BYTES, NULL, 0);
    second->attr = image->attr;
    r.options.move = false;
    assert_int_equal(rig_run(&r), 0);
    assert_false(rig_left(&r));
    assert_int_equal(relocate_totals(r.r)->written_bytes, 0);
    assert_true(rig_same(&r, "image"));
    rig_tear_down(&r);
}

/* ---- somebody else is at work ---- */

/* A process that lives until `end` is closed. */
struct neighbour {
    pid_t pid;
    int end;
    struct owner owner;
};

static void neighbour_begin(struct neighbour *n)
{
    int report[2], end[2];
    assert_int_equal(pipe(report) + pipe(end), 0);
    n->pid = fork();
    assert_true(n->pid >= 0);
    if (n->pid == 0) {
        struct owner own;
        struct err e = {0};
        char byte;
        close(end[1]);
        if (owner_self(&own, &e) < 0 || write(report[1], &own, sizeof own) != sizeof own ||
            read(end[0], &byte, 1) != 0)
            _exit(1);
        _exit(0);
    }
    close(end[0]);
    close(report[1]);
    assert_int_equal(read(report[0], &n->owner, sizeof n->owner), sizeof n->owner);
    close(report[0]);
    n->end = end[1];
}

static void neighbour_end(struct neighbour *n)
{
    close(n->end);
    assert_int_equal(waitpid(n->pid, NULL, 0), n->pid);
}

static void plant_part(struct rig *r, const struct owner *o, char name[MEMORY_NAME_MAX])
{
    char text[OWNER_TEXT_MAX];
    owner_text(o, text);
    snprintf(name, MEMORY_NAME_MAX, "%s-%s", RIG_PART, text);
    memory_add(&r->to, name, 5000, NULL, 0);
}

/* An image of one chunk: while its maker lives its part is left alone, and afterwards removed. */
static void test_small_part_of_another(void **state)
{
    (void)state;
    struct rig r;
    struct neighbour n;
    char name[MEMORY_NAME_MAX];
    rig_set_up(&r);
    rig_add_dense(&r, "image", 5000);
    neighbour_begin(&n);
    plant_part(&r, &n.owner, name);
    assert_int_equal(rig_run(&r), -1);
    rig_assert_refused(&r, "is working on it");
    assert_non_null(memory_find(&r.to, name));
    neighbour_end(&n);
    assert_int_equal(rig_run(&r), 0);
    rig_assert_landed(&r);
    rig_tear_down(&r);
}

/* Of a run on another host nothing is known. Its part stays, and ours is another. */
static void test_small_part_of_another_host(void **state)
{
    (void)state;
    for (int bind = 0; bind < 3; bind++) {
        struct rig r;
        struct owner other;
        struct err e = {0};
        char name[MEMORY_NAME_MAX];
        rig_set_up(&r);
        rig_add_dense(&r, "image", 5000);
        assert_int_equal(owner_self(&other, &e), 0);
        other.boot_id[3] ^= 1;
        other.machine ^= 2;
        plant_part(&r, &other, name);
        r.to.claims_bind = bind > 0;
        memory_find(&r.to, name)->claimed = bind == 1;
        assert_int_equal(rig_run(&r), 0);
        assert_true(rig_same(&r, "image"));
        assert_int_equal(memory_find(&r.to, name) != NULL, bind < 2);
        rig_tear_down(&r);
    }
}

/* The journal's writer is on another host: only where claims bind, and it has none, it has ended. */
static void test_journal_of_another_host(void **state)
{
    (void)state;
    for (int bind = 0; bind < 3; bind++) {
        struct rig r;
        struct journal_header h;
        struct err e = {0};
        rig_set_up_kept(&r);
        struct memory_image *journal = memory_find(&r.to, RIG_JOURNAL);
        assert_int_equal(journal_decode_header(journal->cached, JOURNAL_HEADER_BYTES, &h, &e), 1);
        h.writer.boot_id[3] ^= 1;
        strcpy(h.writer.host, "elsewhere");
        journal_encode_header(journal->cached, &h);
        memcpy(journal->durable, journal->cached, JOURNAL_HEADER_BYTES);
        r.to.claims_bind = bind > 0;
        journal->claimed = bind == 1;
        if (bind < 2) {
            assert_int_equal(rig_run(&r), -1);
            if (bind == 0) /* when, and how to find out */
                assert_true(strstr(r.e.msg, " UTC, which may") != NULL &&
                            strstr(r.e.hint, "ps -o") != NULL);
            rig_assert_refused(&r, bind == 0 ? "on elsewhere" : "another godwit is working on it");
        } else {
            assert_int_equal(rig_run(&r), 0);
            rig_assert_landed(&r);
            assert_true(relocate_totals(r.r)->resumed_bytes > 0);
        }
        rig_tear_down(&r);
    }
}

/* The record of a directory that is not there yet is of the run that is about to make it. */
static void test_directory_of_another(void **state)
{
    (void)state;
    struct rig r;
    struct neighbour n;
    struct journal_header h;
    rig_set_up(&r);
    rig_add_dense(&r, "tree/image", 5000);
    r.sources[0].name = r.sources[0].as = "tree";
    r.options.recursive = true;
    neighbour_begin(&n);
    assert_int_equal(
        journal_begin(&h, "x", "tree", &memory_find(&r.from, "tree")->attr, NULL, 1, &r.e), 0);
    h.writer = n.owner;
    char *name = part_name_new("tree", PART_NAME_DIRECTORY);
    struct memory_image *record = memory_add(&r.to, name, JOURNAL_HEADER_BYTES, NULL, 0);
    journal_encode_header(record->cached, &h);
    memcpy(record->durable, record->cached, JOURNAL_HEADER_BYTES);
    assert_int_equal(rig_run(&r), -1);
    assert_non_null(strstr(r.e.msg, "is working on it"));
    assert_ptr_equal(memory_find(&r.to, name), record);
    neighbour_end(&n);
    rig_again(&r);
    assert_int_equal(rig_run(&r), 0);
    assert_true(rig_same(&r, "tree/image") && rig_same(&r, "tree"));
    assert_null(memory_find(&r.to, name));
    free(name);
    rig_tear_down(&r);
}

/* A record that says nothing makes no directory ours, even where it has the mode of a new one; without its
 * directory it goes. */
static void test_directory_with_an_empty_record(void **state)
{
    (void)state;
    for (int there = 0; there < 2; there++) {
        struct rig r;
        rig_set_up(&r);
        rig_add_dense(&r, "tree/image", 5000);
        memory_find(&r.from, "tree")->attr.mode = 0751;
        r.sources[0].name = r.sources[0].as = "tree";
        r.options.recursive = true;
        char *name = part_name_new("tree", PART_NAME_DIRECTORY);
        struct memory_image *record = memory_add(&r.to, name, JOURNAL_HEADER_BYTES, NULL, 0);
        if (there)
            memory_add_directory(&r.to, "tree")->attr.mode = 0700;
        if (rig_run(&r) < 0)
            fail_msg("%s", r.e.msg);
        assert_true(rig_same(&r, "tree/image"));
        assert_int_equal(memory_find(&r.to, "tree")->attr.mode, there ? 0700 : 0751);
        assert_ptr_equal(memory_find(&r.to, name), there ? record : NULL);
        free(name);
        rig_tear_down(&r);
    }
}

/* Two have planned the same; the other one was the first to begin. What it has made is left alone. */
static void test_begun_by_another_since(void **state)
{
    (void)state;
    for (int small = 0; small < 2; small++) {
        struct rig r;
        rig_set_up(&r);
        rig_add_dense(&r, "image", small ? 5000 : 5 * RIG_CHUNK_BYTES);
        r.r = relocate_plan(r.sources, 1, &r.to_site.site, &r.options, &r.e);
        assert_non_null(r.r);
        const char *name = small ? "image" : RIG_JOURNAL;
        memory_add(&r.to, name, 1000, NULL, 0);
        memory_add(&r.to, RIG_PART, 1000, NULL, 0);
        assert_int_equal(relocate_run(r.r, &r.e), -1);
        assert_int_equal(memory_find(&r.to, name)->attr.size_bytes, 1000);
        assert_int_equal(memory_find(&r.to, RIG_PART)->attr.size_bytes, 1000);
        assert_int_equal(r.to.n_images, 3); /* with the root: nothing of ours is left */
        rig_assert_given_back(&r);
        rig_tear_down(&r);
    }
}

/* In mid-copy somebody replaces the part: it is not ours to be named, or to be removed. */
static void replace_part(void *arg, const struct relocate_progress *p)
{
    struct rig *r = arg;
    (void)p;
    pthread_mutex_lock(&r->world.lock);
    struct memory_image *part = memory_find(&r->to, RIG_PART);
    if (part != NULL && part->attr.mode == 0600) {
        uint64_t inode = part->attr.inode;
        memory_remove(&r->to, RIG_PART);
        memory_add(&r->to, RIG_PART, RIG_SIZE_BYTES, NULL, 0)->attr.inode = inode;
    }
    pthread_mutex_unlock(&r->world.lock);
}

static void test_part_replaced_in_mid_copy(void **state)
{
    (void)state;
    for (int verify = 0; verify < 2; verify++) {
        struct rig r;
        rig_set_up_image(&r);
        rig_alone(&r);
        r.from.faults.delay_ns = 20 * 1000 * 1000; /* until there was progress to report */
        r.options.progress = replace_part;
        r.options.verify = verify;
        r.options.move = true;
        assert_int_equal(rig_run(&r), -1);
        assert_non_null(memory_find(&r.from, "image"));
        assert_null(memory_find(&r.to, "image"));
        assert_int_equal(memory_find(&r.to, RIG_PART)->attr.mode, 0640);
        rig_assert_given_back(&r);
        rig_tear_down(&r);
    }
}

/* What was to be replaced is not what was planned any more. */
static void test_overwrites_what_was_planned(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        struct rig r;
        rig_set_up_image(&r);
        if (kind < 2)
            memory_add(&r.to, "image", 10, NULL, 0);
        r.options.overwrite = true;
        r.r = relocate_plan(r.sources, 1, &r.to_site.site, &r.options, &r.e);
        assert_non_null(r.r);
        if (kind == 0) {
            memory_touch(&r.to, "image");
        } else {
            if (kind == 1)
                memory_remove(&r.to, "image");
            memory_add(&r.to, "image", 10, NULL, 0);
        }
        assert_int_equal(relocate_run(r.r, &r.e), -1);
        assert_int_equal(memory_find(&r.to, "image")->attr.size_bytes, 10);
        rig_assert_given_back(&r);
        rig_tear_down(&r);
    }
}

/* An image that a guest writes to is not replaced under it. */
static void test_overwrite_in_use(void **state)
{
    (void)state;
    struct rig r;
    rig_set_up_image(&r);
    memory_add(&r.to, "image", 10, NULL, 0)->in_use = true;
    r.options.overwrite = true;
    assert_int_equal(rig_run(&r), -1);
    rig_assert_refused(&r, "a running QEMU");
    r.options.force = true;
    assert_int_equal(rig_run(&r), 0);
    rig_assert_landed(&r);
    rig_tear_down(&r);
}

/* The source's name leads to another file by the time it is to go. */
static void replace_source(void *arg, const struct memory_image *image, const char *name)
{
    struct rig *r = arg;
    (void)image;
    if (strcmp(name, "image") != 0)
        return;
    struct store_attr attr = memory_find(&r->from, "image")->attr;
    attr.generation++;
    memory_find(&r->from, "image")->attr = attr;
}

static void test_a_source_that_was_replaced_is_not_removed(void **state)
{
    (void)state;
    struct rig r;
    rig_set_up_image(&r);
    r.to.publishing = replace_source;
    r.options.move = true;
    assert_int_equal(rig_run(&r), -1);
    assert_non_null(memory_find(&r.from, "image"));
    assert_int_equal(rig_image(&r, 0)->state, RELOCATE_DONE);
    assert_false(rig_image(&r, 0)->moved);
    rig_tear_down(&r);
}

/* A source by way of a symbolic link is another file than its name says: it is not removed. */
static void test_source_is_a_link(void **state)
{
    (void)state;
    struct rig r;
    rig_set_up_image(&r);
    memory_find(&r.from, "image")->by_link = true;
    r.options.move = true;
    assert_int_equal(rig_run(&r), -1);
    rig_assert_refused(&r, "is a symbolic link");
    r.options.move = false;
    assert_int_equal(rig_run(&r), 0);
    rig_assert_landed(&r);
    rig_tear_down(&r);
}

/* The image stands; its source cannot be removed. */
static void test_a_source_that_cannot_be_removed_is_reported(void **state)
{
    (void)state;
    struct rig r;
    rig_set_up_image(&r);
    r.options.move = r.options.verify = true;
    rig_alone(&r);
    assert_int_equal(rig_run(&r), 0);
    unsigned n = (unsigned)r.from.done[MEMORY_REMOVE] - 1;
    for (size_t op = 0; op < MEMORY_OPS; op++)
        n += op != MEMORY_REMOVE ? r.from.done[op] : 0;
    rig_tear_down(&r);

    rig_set_up_image(&r);
    r.options.move = r.options.verify = true;
    rig_alone(&r);
    r.from.faults = (struct memory_faults){.fail_at = n + 1, .fail_errno = EROFS};
    assert_int_equal(rig_run(&r), -1);
    assert_non_null(strstr(r.e.msg, "stands there"));
    assert_int_equal(rig_image(&r, 0)->state, RELOCATE_DONE);
    assert_int_equal(relocate_totals(r.r)->images_done, 1);
    assert_false(rig_left(&r));
    rig_again(&r); /* what was missed can be done later, once it was compared */
    assert_int_equal(rig_run(&r), 0);
    assert_true(rig_image(&r, 0)->moved);
    assert_true(r.to.read_bytes > 0);
    assert_null(memory_find(&r.from, "image"));
    rig_tear_down(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_part_inode_elsewhere),
        cmocka_unit_test(test_part_inode_and_times),
        cmocka_unit_test(test_published_is_on_record),
        cmocka_unit_test(test_a_copy_is_announced_before_it_has_its_name),
        cmocka_unit_test(test_published_is_compared),
        cmocka_unit_test(test_a_file_of_two_names_is_not_written_to),
        cmocka_unit_test(test_what_is_used_by_then_stays),
        cmocka_unit_test(test_small_part_of_another),
        cmocka_unit_test(test_small_part_of_another_host),
        cmocka_unit_test(test_journal_of_another_host),
        cmocka_unit_test(test_directory_of_another),
        cmocka_unit_test(test_directory_with_an_empty_record),
        cmocka_unit_test(test_begun_by_another_since),
        cmocka_unit_test(test_part_replaced_in_mid_copy),
        cmocka_unit_test(test_overwrites_what_was_planned),
        cmocka_unit_test(test_overwrite_in_use),
        cmocka_unit_test(test_a_source_that_was_replaced_is_not_removed),
        cmocka_unit_test(test_source_is_a_link),
        cmocka_unit_test(test_a_source_that_cannot_be_removed_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
