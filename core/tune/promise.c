/* SPDX-License-Identifier: Apache-2.0 */
#include "core/tune/promise.h"

#include <stddef.h>

const char *const promise_on_miss_names[] = {"refuse", "abort",   "postcopy",
                                             "pause",  "stretch", NULL};
