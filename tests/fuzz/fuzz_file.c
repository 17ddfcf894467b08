/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"

static char dir[] = "/dev/shm/godwit-fuzz-XXXXXX", path[PATH_MAX];

static void clean_up(void)
{
    unlink(path);
    rmdir(dir);
}

const char *fuzz_file(const char *name, const uint8_t *data, size_t size)
{
    if (path[0] == '\0') {
        REQUIRE(mkdtemp(dir) != NULL && atexit(clean_up) == 0);
        snprintf(path, sizeof path, "%s/%s", dir, name);
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    REQUIRE(fd >= 0 && write(fd, data, size) == (ssize_t)size && close(fd) == 0);
    return path;
}
