/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * bare-guest-patch: write parameters into an image of the bare-metal guest.
 *
 * The parameters are a struct inside the image (params.h). It is found by its magic, which
 * must be there exactly once, and believed only if its version and size are those that
 * this program was built with. OUT is written beside its name and renamed, so that IN
 * and OUT may be the same file and OUT is never half an image.
 *
 * Exit: 0 done, 1 a file could not be read or written, 2 bad arguments or a bad image.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/guest/bare/params.h"
#include "bench/guest/size_arg.h"
#include "bench/guest/workset.h"

enum { EXIT_IO = 1, EXIT_USAGE = 2 };

/* The image is some 10 KiB; what is longer than this is no image of ours. */
#define IMAGE_MAX_BYTES (1u << 20)

struct image {
    unsigned char bytes[IMAGE_MAX_BYTES];
    size_t length;
};

struct wish {
    bool working_set_set, dirty_rate_set, period_set;
    uint64_t working_set_bytes;
    uint64_t dirty_rate_bytes_per_s;
    uint64_t period_us;
};

static const char usage_text[] =
    "usage: bare-guest-patch [--working-set SIZE] [--dirty-rate SIZE] [--period-us N] IN OUT\n"
    "\n"
    "Copy the bare-metal guest's image IN to OUT with other parameters.\n"
    "\n"
    "  --working-set SIZE  memory that the guest dirties, 4K to 3G, a multiple of 4K\n"
    "  --dirty-rate SIZE   bytes of it to dirty per second, below 4G; 0: none\n"
    "  --period-us N       heartbeat period in microseconds, 100 to 10000000\n"
    "\n"
    "SIZE is a number, or a number with the unit K, M or G.\n";

static _Noreturn void __attribute__((format(printf, 2, 3))) die(int status, const char *format, ...)
{
    va_list args;

    fputs("bare-guest-patch: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(status);
}

static uint64_t parse_option(const char *name, const char *text, uint64_t min, uint64_t max)
{
    uint64_t value;

    if (!size_arg_parse(text, max, &value) || value < min) {
        die(EXIT_USAGE, "%s %s: not a number from %" PRIu64 " to %" PRIu64 " (units K, M, G)", name,
            text, min, max);
    }
    return value;
}

static void parse_arguments(int argc, char **argv, struct wish *wish)
{
    static const struct option options[] = {
        {"working-set", required_argument, NULL, 'w'},
        {"dirty-rate", required_argument, NULL, 'r'},
        {"period-us", required_argument, NULL, 'p'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'w':
            wish->working_set_bytes =
                parse_option("--working-set", optarg, WORKSET_PAGE_BYTES, BARE_WORKSET_MAX_BYTES);
            if (wish->working_set_bytes % WORKSET_PAGE_BYTES) {
                die(EXIT_USAGE, "--working-set %s: not a multiple of 4K", optarg);
            }
            wish->working_set_set = true;
            break;
        case 'r':
            wish->dirty_rate_bytes_per_s =
                parse_option("--dirty-rate", optarg, 0, PACER_RATE_MAX_BYTES_PER_S);
            wish->dirty_rate_set = true;
            break;
        case 'p':
            wish->period_us =
                parse_option("--period-us", optarg, BARE_PERIOD_MIN_US, BARE_PERIOD_MAX_US);
            wish->period_set = true;
            break;
        case 'h': fputs(usage_text, stdout); exit(0);
        default: fputs(usage_text, stderr); exit(EXIT_USAGE);
        }
    }
    if (argc - optind != 2) {
        fputs(usage_text, stderr);
        exit(EXIT_USAGE);
    }
}

static void image_read(struct image *image, const char *path)
{
    FILE *file = fopen(path, "rb");

    if (!file) {
        die(errno == ENOENT ? EXIT_USAGE : EXIT_IO, "%s: %s", path, strerror(errno));
    }
    image->length = fread(image->bytes, 1, sizeof(image->bytes), file);
    if (ferror(file)) {
        die(EXIT_IO, "%s: %s", path, strerror(errno));
    }
    if (image->length == sizeof(image->bytes)) {
        die(EXIT_USAGE, "%s: too long for a bare-metal guest", path);
    }
    fclose(file);
}

/* The offset of the one place that holds the magic. */
static size_t image_find_params(const struct image *image, const char *path)
{
    static const char magic[16] = BARE_PARAMS_MAGIC;
    size_t found = 0;
    int places = 0;

    for (size_t i = 0; i + sizeof(struct bare_params) <= image->length; i++) {
        if (memcmp(image->bytes + i, magic, sizeof(magic)) == 0) {
            found = i;
            places++;
        }
    }
    if (places != 1) {
        die(EXIT_USAGE, "%s: not an image of the bare-metal guest (%d parameter blocks in it)",
            path, places);
    }
    return found;
}

static void image_patch(struct image *image, const char *path, const struct wish *wish)
{
    size_t offset = image_find_params(image, path);
    struct bare_params params;

    memcpy(&params, image->bytes + offset, sizeof(params));
    if (params.version != BARE_PARAMS_VERSION || params.size_bytes != sizeof(params)) {
        die(EXIT_USAGE,
            "%s: parameter block of version %" PRIu32 ", %" PRIu32
            " bytes; this program knows version %d, %zu bytes",
            path, params.version, params.size_bytes, BARE_PARAMS_VERSION, sizeof(params));
    }
    if (wish->working_set_set) {
        params.working_set_bytes = wish->working_set_bytes;
    }
    if (wish->dirty_rate_set) {
        params.dirty_rate_bytes_per_s = (uint32_t)wish->dirty_rate_bytes_per_s;
    }
    if (wish->period_set) {
        params.period_us = (uint32_t)wish->period_us;
    }
    memcpy(image->bytes + offset, &params, sizeof(params));
}

static void image_write(const struct image *image, const char *path)
{
    char *temporary;
    FILE *file;
    int fd;

    if (asprintf(&temporary, "%s.XXXXXX", path) < 0) {
        die(EXIT_IO, "%s: out of memory", path);
    }
    fd = mkstemp(temporary);
    file = fd < 0 ? NULL : fdopen(fd, "wb");
    if (!file) {
        die(EXIT_IO, "%s: %s", temporary, strerror(errno));
    }
    if (fwrite(image->bytes, 1, image->length, file) != image->length || fflush(file) ||
        fchmod(fd, 0644) || fclose(file) || rename(temporary, path)) {
        int error = errno;

        unlink(temporary);
        die(EXIT_IO, "%s: %s", path, strerror(error));
    }
    free(temporary);
}

int main(int argc, char **argv)
{
    static struct image image;
    struct wish wish = {0};

    parse_arguments(argc, argv, &wish);
    image_read(&image, argv[optind]);
    image_patch(&image, argv[optind], &wish);
    image_write(&image, argv[optind + 1]);
    return 0;
}
