/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/relocate/image_set.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "core/cleanup.h"

enum { IMAGE_READ_BYTES = 1 << 20, IMAGE_SET_MAX = 100000 };

/* What every tool takes in a URL as it is. */
static const char image_plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                  "._+=,@-";

static const char *image_base(const char *name)
{
    const char *slash = strrchr(name, '/');
    return slash != NULL ? slash + 1 : name;
}

/* ---- reading ---- */

struct image_reader {
    uint8_t *buf;         /* IMAGE_READ_BYTES; given back to the kernel after use (bench/child.c) */
    struct checksum *sum; /* NULL: none is wanted */
};

static void image_reader_end(struct image_reader *r)
{
    if (r->buf != NULL)
        munmap(r->buf, IMAGE_READ_BYTES);
    checksum_free(r->sum);
}

static int image_reader_init(struct image_reader *r, struct err *e)
{
    void *buf =
        mmap(NULL, IMAGE_READ_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (buf == MAP_FAILED)
        return err_set(e, ERR_IO, errno, "cannot make a buffer");
    r->buf = buf;
    return 0;
}

static int image_read_data(struct image_reader *r, int fd, off_t at, off_t end)
{
    while (at < end) {
        off_t want = end - at < IMAGE_READ_BYTES ? end - at : IMAGE_READ_BYTES;
        ssize_t n = pread(fd, r->buf, (size_t)want, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0)
            errno = EIO; /* it was cut meanwhile */
        if (n <= 0)
            return -1;
        if (r->sum != NULL)
            checksum_add(r->sum, r->buf, (size_t)n);
        at += n;
    }
    return 0;
}

/* Reads all data of a file; returns how much that is, -1 with errno. */
static int64_t image_read(struct image_reader *r, int fd, off_t size)
{
    off_t at = 0, data = 0;
    while (at < size) {
        off_t begin = lseek(fd, at, SEEK_DATA);
        if (begin < 0 && errno != ENXIO)
            return -1;
        if (begin < 0 || begin > size)
            begin = size;
        off_t end = begin < size ? lseek(fd, begin, SEEK_HOLE) : size;
        if (end < 0)
            return -1;
        if (r->sum != NULL)
            checksum_add_zeros(r->sum, (uint64_t)(begin - at));
        if (image_read_data(r, fd, begin, end) < 0)
            return -1;
        data += end - begin;
        at = end;
    }
    return data;
}

/* ---- which files ---- */

static int image_measure(struct image *i, struct image_reader *r, struct err *e)
{
    CLEANUP_CLOSE int fd = open(i->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_set(e, ERR_REFUSED, errno, "%s: cannot open it", i->path);
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_REFUSED, 0, "%s: is not a regular file", i->path);
    const char *base = image_base(i->path);
    if (base[strspn(base, image_plain)] != '\0') {
        err_set(e, ERR_REFUSED, 0, "%s: its name needs quoting in a URL", i->path);
        return err_hint(e, "use letters, digits and ._+=,@- only");
    }
    r->sum = checksum_new();
    if (r->sum == NULL)
        return err_set(e, ERR_IO, ENOMEM, "%s: cannot read it", i->path);
    int64_t data = image_read(r, fd, st.st_size);
    if (data < 0)
        return err_set(e, ERR_IO, errno, "%s: cannot read", i->path);
    i->size_bytes = (uint64_t)st.st_size;
    i->data_bytes = (uint64_t)data;
    checksum_hex(r->sum, i->xxh3_128);
    checksum_free(TAKE(r->sum));
    return 0;
}

static int image_compare(const void *a, const void *b)
{
    const struct image *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static int image_set_measure(struct image_set *s, struct err *e)
{
    struct image_reader r CLEANUP(image_reader_end) = {0};
    if (image_reader_init(&r, e) < 0)
        return -1;
    qsort(s->image, s->n, sizeof *s->image, image_compare);
    for (size_t i = 0; i < s->n; i++) {
        struct image *at = &s->image[i];
        if (i > 0 && strcmp(at->name, at[-1].name) == 0)
            return err_set(e, ERR_REFUSED, 0, "%s and %s have the same name", at[-1].path,
                           at->path);
        if (image_measure(at, &r, e) < 0)
            return -1;
        s->size_bytes += at->size_bytes;
        s->data_bytes += at->data_bytes;
    }
    return 0;
}

/* Takes over `path`. */
static int image_set_add(struct image_set *s, char *path, struct err *e)
{
    struct image *more = NULL;
    if (path != NULL && s->n < IMAGE_SET_MAX)
        more = realloc(s->image, (s->n + 1) * sizeof *more);
    if (more == NULL) {
        free(path);
        return err_set(e, ERR_REFUSED, 0, "there are more than %zu files", s->n);
    }
    s->image = more;
    /* "/a/dir/image" of directory "/a/dir" is "dir/image" elsewhere */
    size_t before = s->root != NULL ? (size_t)(s->directory - s->root) : 0;
    const char *name = s->root != NULL ? path + before : image_base(path);
    s->image[s->n++] = (struct image){.path = path, .name = name};
    return 0;
}

static void image_closedir(DIR **d)
{
    if (*d != NULL)
        closedir(*d);
}

static int image_set_list(struct image_set *s, const char *path, struct err *e)
{
    s->root = strdup(path);
    if (s->root == NULL)
        return err_set(e, ERR_IO, ENOMEM, "%s: cannot read it", path);
    for (size_t len = strlen(s->root); len > 1 && s->root[len - 1] == '/'; len--)
        s->root[len - 1] = '\0';
    s->directory = image_base(s->root);
    DIR *d CLEANUP(image_closedir) = opendir(s->root);
    if (d == NULL)
        return err_set(e, ERR_REFUSED, errno, "%s: cannot read it", path);
    if (s->directory[0] == '\0' || s->directory[strspn(s->directory, image_plain)] != '\0' ||
        strcmp(s->directory, ".") == 0 || strcmp(s->directory, "..") == 0)
        return err_set(e, ERR_REFUSED, 0, "%s: a directory needs a plain name of its own", path);
    for (struct dirent *entry; (entry = readdir(d)) != NULL;) {
        char *file = NULL;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (asprintf(&file, "%s/%s", s->root, entry->d_name) < 0)
            file = NULL;
        if (image_set_add(s, file, e) < 0)
            return -1;
    }
    return s->n > 0 ? 0 : err_set(e, ERR_REFUSED, 0, "%s: is empty", path);
}

int image_set_open(struct image_set *s, char *const *paths, size_t n, struct err *e)
{
    struct stat st;
    *s = (struct image_set){.directory = ""};
    if (n == 1 && stat(paths[0], &st) == 0 && S_ISDIR(st.st_mode)) {
        if (image_set_list(s, paths[0], e) < 0)
            return -1;
    } else {
        for (size_t i = 0; i < n; i++)
            if (image_set_add(s, strdup(paths[i]), e) < 0)
                return -1;
    }
    if (image_set_measure(s, e) < 0)
        return -1;
    return s->data_bytes > 0 ? 0 : err_set(e, ERR_REFUSED, 0, "%s: holds no data", paths[0]);
}

void image_set_close(struct image_set *s)
{
    for (size_t i = 0; i < s->n; i++)
        free(s->image[i].path);
    free(s->image);
    free(s->root);
    *s = (struct image_set){0};
}

/* ---- the page cache ---- */

int image_set_warm(const struct image_set *s, struct err *e)
{
    struct image_reader r CLEANUP(image_reader_end) = {0};
    if (image_reader_init(&r, e) < 0)
        return -1;
    for (size_t i = 0; i < s->n; i++) {
        CLEANUP_CLOSE int fd = open(s->image[i].path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || image_read(&r, fd, (off_t)s->image[i].size_bytes) < 0)
            return err_set(e, ERR_IO, errno, "%s: cannot read", s->image[i].path);
    }
    return 0;
}

int image_set_cool(const struct image_set *s, struct err *e)
{
    for (size_t i = 0; i < s->n; i++) {
        CLEANUP_CLOSE int fd = open(s->image[i].path, O_RDONLY | O_CLOEXEC);
        /* What is dirty would stay: it is written first. */
        if (fd < 0 || fdatasync(fd) < 0)
            return err_set(e, ERR_IO, errno, "%s: cannot write it out", s->image[i].path);
        int rc = posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        if (rc != 0)
            return err_set(e, ERR_IO, rc, "%s: cannot drop it from the page cache",
                           s->image[i].path);
    }
    return 0;
}

bool image_set_has(void *set, const char *base)
{
    const struct image_set *s = set;
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(image_base(s->image[i].name), base) == 0)
            return true;
    return false;
}
