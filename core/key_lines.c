/* SPDX-License-Identifier: Apache-2.0 */
#include "core/key_lines.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"

enum { KEY_LINES_FILE_MAX = 64 << 10 };

char *key_lines_trim(char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    for (size_t n = strlen(text); n > 0 && isspace((unsigned char)text[n - 1]);)
        text[--n] = '\0';
    return text;
}

static int key_lines_take(char *line, key_lines_fn *take, void *arg, struct err *e)
{
    char *value = strchr(line, '=');
    if (value == NULL)
        return err_set(e, ERR_USAGE, 0, "'%s' is not KEY = VALUE", line);
    *value++ = '\0';
    return take(arg, key_lines_trim(line), key_lines_trim(value), e);
}

int key_lines_parse(const char *text, const char *file, key_lines_fn *take, void *arg,
                    struct err *e)
{
    CLEANUP_FREE char *copy = strdup(text);
    if (copy == NULL)
        return err_set(e, ERR_IO, ENOMEM, "%s: cannot read it", file);
    char *rest = copy;
    int number = 0;
    for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
        number++;
        line = key_lines_trim(line);
        if (*line != '\0' && *line != '#' && key_lines_take(line, take, arg, e) < 0)
            return err_wrap(e, "%s:%d", file, number);
    }
    return 0;
}

char *key_lines_read(const char *file, struct err *e)
{
    CLEANUP_CLOSE int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0) {
        err_set(e, ERR_USAGE, errno, "%s: cannot open it", file);
        return NULL;
    }
    if (!S_ISREG(st.st_mode) || st.st_size >= KEY_LINES_FILE_MAX) {
        err_set(e, ERR_USAGE, 0, "%s: is no file, or one of 64 KiB or more", file);
        return NULL;
    }
    char *text = malloc(KEY_LINES_FILE_MAX);
    ssize_t n = text != NULL ? read(fd, text, KEY_LINES_FILE_MAX - 1) : -1;
    if (n < 0 || memchr(text, '\0', (size_t)n) != NULL) {
        err_set(e, ERR_USAGE, n < 0 ? errno : 0, "%s: is not a text", file);
        free(text);
        return NULL;
    }
    text[n] = '\0';
    return text;
}
