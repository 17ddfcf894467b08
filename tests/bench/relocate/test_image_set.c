/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "bench/relocate/image_set.h"

static char scratch[] = "/var/tmp/godwit-image-set-XXXXXX";

static char *path_of(const char *name)
{
    char *path;
    assert_true(asprintf(&path, "%s/%s", scratch, name) > 0);
    return path;
}

/* A file of `text`, at `offset` after a hole. */
static char *file_of(const char *name, const char *text, off_t offset)
{
    char *path = path_of(name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, text, strlen(text), offset), strlen(text));
    close(fd);
    return path;
}

static int setup(void **state)
{
    (void)state;
    return mkdtemp(scratch) != NULL ? 0 : -1;
}

static int teardown(void **state)
{
    char command[100];
    (void)state;
    snprintf(command, sizeof command, "rm -rf -- %s", scratch);
    return system(command);
}

static void files_are_sorted_and_hashed(void **state)
{
    (void)state;
    char *paths[] = {file_of("b.img", "hello", 0), file_of("a.img", "", 0)};
    struct image_set s;
    struct err e = {0};
    assert_int_equal(image_set_open(&s, paths, 2, &e), 0);
    assert_int_equal(s.n, 2);
    assert_null(s.root);
    assert_string_equal(s.directory, "");
    assert_string_equal(s.image[0].name, "a.img");
    assert_string_equal(s.image[1].name, "b.img");
    assert_string_equal(s.image[1].path, paths[0]);
    assert_int_equal(s.size_bytes, 5);
    /* echo -n hello | xxh128sum */
    assert_string_equal(s.image[1].xxh3_128, "b5e9c1ad071b3e7fc779cfaa5e523818");
    assert_string_equal(s.image[0].xxh3_128, "99aa06d3014798d86001c324468d497f");
    assert_true(image_set_has(&s, "a.img"));
    assert_false(image_set_has(&s, "a.im"));
    assert_int_equal(image_set_warm(&s, &e), 0);
    assert_int_equal(image_set_cool(&s, &e), 0);
    image_set_close(&s);
    free(paths[0]);
    free(paths[1]);
}

/* The checksum is that of the content, however it is stored. */
static void holes_are_zeros(void **state)
{
    (void)state;
    char *paths[] = {file_of("sparse.img", "x", 8 << 20), path_of("dense.img")};
    struct image_set sparse, dense;
    struct err e = {0};
    char *zeros = calloc(1, (8 << 20) + 1);
    zeros[8 << 20] = 'x';
    FILE *f = fopen(paths[1], "w");
    assert_int_equal(fwrite(zeros, (8 << 20) + 1, 1, f), 1);
    fclose(f);
    free(zeros);
    assert_int_equal(image_set_open(&sparse, paths, 1, &e), 0);
    assert_int_equal(image_set_open(&dense, paths + 1, 1, &e), 0);
    assert_string_equal(sparse.image[0].xxh3_128, dense.image[0].xxh3_128);
    assert_int_equal(sparse.size_bytes, (8 << 20) + 1);
    assert_int_equal(dense.data_bytes, (8 << 20) + 1);
    assert_in_range(sparse.data_bytes, 1, 1 << 20);
    image_set_close(&sparse);
    image_set_close(&dense);
    free(paths[0]);
    free(paths[1]);
}

static void a_directory(void **state)
{
    (void)state;
    char *dir = path_of("many///");
    assert_int_equal(mkdir(dir, 0700), 0);
    free(file_of("many/2", "two", 0));
    free(file_of("many/1", "one", 0));
    struct image_set s;
    struct err e = {0};
    assert_int_equal(image_set_open(&s, &dir, 1, &e), 0);
    assert_string_equal(s.directory, "many");
    assert_int_equal(s.n, 2);
    assert_string_equal(s.image[0].name, "many/1");
    assert_string_equal(s.image[1].name, "many/2");
    assert_int_equal(access(s.image[0].path, R_OK), 0);
    assert_true(image_set_has(&s, "2"));
    image_set_close(&s);
    free(dir);
}

static void refused(const char *reason, char *const *paths, size_t n)
{
    struct image_set s;
    struct err e = {0};
    assert_int_equal(image_set_open(&s, paths, n, &e), -1);
    image_set_close(&s);
    assert_int_equal(e.class, ERR_REFUSED);
    if (strstr(e.msg, reason) == NULL)
        fail_msg("no '%s' in: %s", reason, e.msg);
}

static void what_cannot_be_copied(void **state)
{
    (void)state;
    char *absent[] = {path_of("absent.img")};
    refused("No such file", absent, 1);
    char null[] = "/dev/null";
    char *device[] = {null};
    refused("not a regular file", device, 1);
    char *odd[] = {file_of("a?b", "x", 0)};
    refused("quoting", odd, 1);
    char *empty[] = {file_of("empty", "", 0)};
    refused("no data", empty, 1);

    char *deep = path_of("deep"), *inner = path_of("deep/inner");
    assert_int_equal(mkdir(deep, 0700), 0);
    refused("is empty", &deep, 1);
    assert_int_equal(mkdir(inner, 0700), 0);
    refused("not a regular file", &deep, 1);
    char *twice[] = {file_of("same", "x", 0), file_of("deep/same", "y", 0)};
    refused("the same name", twice, 2);
    char *mixed[] = {twice[0], deep};
    refused("not a regular file", mixed, 2);

    free(absent[0]);
    free(odd[0]);
    free(empty[0]);
    free(deep);
    free(inner);
    free(twice[0]);
    free(twice[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_sorted_and_hashed),
        cmocka_unit_test(holes_are_zeros),
        cmocka_unit_test(a_directory),
        cmocka_unit_test(what_cannot_be_copied),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
