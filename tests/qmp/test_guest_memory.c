/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "qmp/guest_memory.h"

/* Larger than anything else in this process, and than what a sanitizer maps readable and writable. */
#define RAM_BYTES (UINT64_C(96) << 20)
#define PAGE 4096

/* Anonymous, with borders, so that it stays a mapping of its own. */
static unsigned char *map_ram(void)
{
    unsigned char *all = mmap(NULL, RAM_BYTES + 2 * PAGE, PROT_NONE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_ptr_not_equal(all, MAP_FAILED);
    assert_int_equal(mprotect(all + PAGE, RAM_BYTES, PROT_READ | PROT_WRITE), 0);
    return all + PAGE;
}

static void unmap_ram(unsigned char *ram)
{
    munmap(ram - PAGE, RAM_BYTES + 2 * PAGE);
}

static struct guest_memory look(void)
{
    struct guest_memory m;
    struct err e = {0};
    if (guest_memory_look(syscall(SYS_gettid), RAM_BYTES, &m, &e) < 0)
        fail_msg("%s", e.msg);
    return m;
}

static void test_untouched_is_zeros_and_stays_untouched(void **state)
{
    (void)state;
    unsigned char *ram = map_ram();
    madvise(ram, RAM_BYTES, MADV_NOHUGEPAGE);
    struct guest_memory m = look();
    assert_int_equal(m.pages, 4096);
    assert_int_equal(m.not_zero, 0);
    static unsigned char there[RAM_BYTES / PAGE];
    size_t n = 0;
    assert_int_equal(mincore(ram, RAM_BYTES, there), 0);
    for (size_t i = 0; i < sizeof there; i++)
        n += there[i] & 1;
    assert_int_equal(n, 0);
    unmap_ram(ram);
}

/* Touched, and zeros all the same; a byte at the end of a page counts. */
static void test_what_was_written(void **state)
{
    (void)state;
    unsigned char *ram = map_ram();
    memset(ram, 0, RAM_BYTES / 2);
    assert_int_equal(look().not_zero, 0);
    for (size_t at = PAGE - 1; at < RAM_BYTES / 4; at += PAGE)
        ram[at] = 1;
    assert_int_equal(look().not_zero, 1024);
    unmap_ram(ram);
}

static void test_what_cannot_be_looked_at(void **state)
{
    (void)state;
    struct guest_memory m;
    struct err e = {0};
    assert_int_equal(guest_memory_look(syscall(SYS_gettid), UINT64_C(1) << 50, &m, &e), -1);
    assert_int_equal(e.class, ERR_REFUSED);
    e = (struct err){0};
    assert_int_equal(guest_memory_look(0x7fffffff, RAM_BYTES, &m, &e), -1);
    assert_int_equal(e.class, ERR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_untouched_is_zeros_and_stays_untouched),
        cmocka_unit_test(test_what_was_written),
        cmocka_unit_test(test_what_cannot_be_looked_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
