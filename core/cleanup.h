/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scope-bound cleanup: a variable marked CLEANUP_FREE or CLEANUP_CLOSE gives up what it owns when
 * it goes out of scope, so that functions read straight down. TAKE(p) hands the ownership on.
 */
#ifndef CORE_CLEANUP_H
#define CORE_CLEANUP_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CLEANUP(fn) __attribute__((cleanup(fn)))

static inline void cleanup_free_ptr(void *p)
{
    free(*(void **)p);
}

static inline void cleanup_close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static inline void cleanup_fclose(FILE **f)
{
    if (*f != NULL)
        fclose(*f);
}

#define CLEANUP_FREE CLEANUP(cleanup_free_ptr)
#define CLEANUP_CLOSE CLEANUP(cleanup_close_fd)
#define CLEANUP_FCLOSE CLEANUP(cleanup_fclose)

/* The value of pointer `p`, which is NULL from here on. */
#define TAKE(p)                     \
    __extension__({                 \
        __typeof__(p) taken_ = (p); \
        (p) = NULL;                 \
        taken_;                     \
    })

/* The same for a file descriptor. */
#define TAKE_FD(fd)        \
    __extension__({        \
        int taken_ = (fd); \
        (fd) = -1;         \
        taken_;            \
    })

#endif
