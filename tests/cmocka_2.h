/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Comes before every test where cmocka is version 2 (meson.build): our tests are written for version
 * 1, which Debian 12 and 13 have. Version 2 deprecates assert_in_range(), whose numbers have always
 * been unsigned, and takes stop() for itself, which is what a test's own function may be called.
 */
#ifndef TESTS_CMOCKA_2_H
#define TESTS_CMOCKA_2_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#undef stop
#undef assert_in_range
#define assert_in_range(value, minimum, maximum) assert_uint_in_range(value, minimum, maximum)

#endif
