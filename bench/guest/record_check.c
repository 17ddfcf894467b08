/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * record-check: make a disk for the Linux guest, or tell whether one lost anything.
 *
 * Theory of operation. The image is read once, block by block, into a table with one entry a
 * slot; what is wrong with a block on its own (corrupt, in a slot not its own) is
 * found here. The highest record then says which records must be there, and a second walk,
 * over the table and in the order of the numbers, finds what is missing and where two
 * neighbours do not fit. record.h defines the findings.
 *
 * The first findings are reported on stderr, the sums on stdout as one JSON object.
 *
 * Exit: 0 complete and in order, 1 not so (or no record at all, or the image could not be
 * read), 2 bad arguments or not a disk of the guest.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/guest/record.h"
#include "bench/guest/size_arg.h"

enum { EXIT_FINDINGS = 1, EXIT_USAGE = 2 };

#define FINDINGS_TOLD_MAX 20

enum slot_state {
    SLOT_EMPTY,
    SLOT_CORRUPT,
    SLOT_FOREIGN, /* a good record that belongs elsewhere */
    SLOT_RECORD,
};

struct slot {
    enum slot_state state;
    uint64_t seq;
    uint64_t monotonic_ns;
    uint64_t boot_id;
    uint64_t previous;
    uint64_t checksum;
};

struct report {
    uint64_t first, last, count;
    uint64_t missing, corrupt, out_of_order, broken_chain;
};

static const char usage_text[] =
    "usage: record-check IMAGE\n"
    "       record-check --format IMAGE SIZE\n"
    "\n"
    "Check the records that the Linux guest wrote to its raw disk IMAGE (the guest must stand\n"
    "still), or make a new, sparse disk of SIZE (a number with the unit K, M, G or T).\n"
    "Prints one JSON object. Exit: 0 complete and in order, 1 not so, 2 not a guest's disk.\n";

static void __attribute__((format(printf, 1, 2))) tell(const char *format, ...)
{
    va_list args;

    fputs("record-check: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

static void __attribute__((format(printf, 2, 3)))
tell_finding(const struct report *report, const char *format, ...)
{
    uint64_t findings = report->missing + report->corrupt + report->out_of_order +
                        report->broken_chain;
    va_list args;

    if (findings > FINDINGS_TOLD_MAX) {
        return;
    }
    fputs("record-check: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputs(findings == FINDINGS_TOLD_MAX ? " (no more are shown)\n" : "\n", stderr);
}

/* False, and reported, unless all of BLOCK was read. */
static bool read_block(int fd, const char *path, uint64_t offset_bytes, void *block)
{
    size_t done = 0;

    while (done < RECORD_BYTES) {
        ssize_t n =
            pread(fd, (char *)block + done, RECORD_BYTES - done, (off_t)(offset_bytes + done));

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            tell("%s: offset %" PRIu64 ": %s", path, offset_bytes,
                 n < 0 ? strerror(errno) : "the image ends here");
            return false;
        }
        done += (size_t)n;
    }
    return true;
}

static bool is_empty(const struct record *record)
{
    static const struct record zero;

    return memcmp(record, &zero, sizeof(zero)) == 0;
}

static void slot_classify(struct slot *slot, uint64_t index, uint64_t slots,
                          const struct record *record)
{
    if (is_empty(record)) {
        slot->state = SLOT_EMPTY;
        return;
    }
    if (!record_is_valid(record)) {
        slot->state = SLOT_CORRUPT;
        return;
    }
    slot->state = record->seq % slots == index ? SLOT_RECORD : SLOT_FOREIGN;
    slot->seq = record->seq;
    slot->monotonic_ns = record->monotonic_ns;
    slot->boot_id = record->boot_id;
    slot->previous = record->previous;
    slot->checksum = record->checksum;
}

static bool read_slots(int fd, const char *path, struct slot *table, uint64_t slots,
                       struct report *report)
{
    struct record record;

    for (uint64_t i = 0; i < slots; i++) {
        if (!read_block(fd, path, record_offset_bytes(i, slots), &record)) {
            return false;
        }
        slot_classify(&table[i], i, slots, &record);
        if (table[i].state == SLOT_CORRUPT) {
            report->corrupt++;
            tell_finding(report, "slot %" PRIu64 ": corrupt", i);
        } else if (table[i].state == SLOT_FOREIGN) {
            report->out_of_order++;
            tell_finding(report,
                         "slot %" PRIu64 ": holds record %" PRIu64 ", which belongs elsewhere", i,
                         table[i].seq);
        } else if (table[i].state == SLOT_RECORD && table[i].seq > report->last) {
            report->last = table[i].seq;
        }
    }
    return true;
}

static void check_neighbours(const struct slot *before, const struct slot *slot,
                             struct report *report)
{
    if (slot->previous != before->checksum) {
        report->broken_chain++;
        tell_finding(report,
                     "record %" PRIu64 ": does not follow from record %" PRIu64
                     " on this disk: two writers?",
                     slot->seq, before->seq);
    }
    if (slot->boot_id == before->boot_id && slot->monotonic_ns < before->monotonic_ns) {
        report->out_of_order++;
        tell_finding(report, "record %" PRIu64 ": older than record %" PRIu64, slot->seq,
                     before->seq);
    }
}

static void check_sequence(const struct slot *table, uint64_t slots, struct report *report)
{
    const struct slot *before = NULL;

    if (report->last == 0) {
        return;
    }
    report->first = record_first(report->last, slots);
    for (uint64_t seq = report->first; seq <= report->last; seq++) {
        const struct slot *slot = &table[seq % slots];

        if (slot->state == SLOT_RECORD && slot->seq == seq) {
            report->count++;
            if (before) {
                check_neighbours(before, slot, report);
            }
            before = slot;
            continue;
        }
        before = NULL;
        if (slot->state != SLOT_CORRUPT) {
            report->missing++;
            tell_finding(report, "record %" PRIu64 ": missing", seq);
        }
    }
}

static int print_report(const struct report *report)
{
    bool complete = report->count > 0 && !report->missing && !report->corrupt &&
                    !report->out_of_order && !report->broken_chain;

    printf("{\"first\": %" PRIu64 ", \"last\": %" PRIu64 ", \"count\": %" PRIu64
           ", \"missing\": %" PRIu64 ", \"corrupt\": %" PRIu64 ", \"out_of_order\": %" PRIu64
           ", \"broken_chain\": %" PRIu64 ", \"complete\": %s}\n",
           report->first, report->last, report->count, report->missing, report->corrupt,
           report->out_of_order, report->broken_chain, complete ? "true" : "false");
    return complete ? 0 : EXIT_FINDINGS;
}

static int check_open(int fd, const char *path)
{
    struct record_header header;
    struct report report = {0};
    struct slot *table;
    const char *fault;
    struct stat stat;
    int status = EXIT_FINDINGS;

    if (fstat(fd, &stat) || !S_ISREG(stat.st_mode)) {
        tell("%s: not a regular file", path);
        return EXIT_USAGE;
    }
    if (stat.st_size < RECORD_BYTES || !read_block(fd, path, 0, &header)) {
        tell("%s: not a disk of the guest: shorter than its header", path);
        return EXIT_USAGE;
    }
    fault = record_header_fault(&header, (uint64_t)stat.st_size);
    if (fault) {
        tell("%s: %s", path, fault);
        return EXIT_USAGE;
    }
    table = calloc(header.slots, sizeof(*table));
    if (!table) {
        tell("%s: no memory for %" PRIu64 " slots", path, header.slots);
        return EXIT_FINDINGS;
    }
    if (read_slots(fd, path, table, header.slots, &report)) {
        check_sequence(table, header.slots, &report);
        status = print_report(&report);
    }
    free(table);
    return status;
}

static int check(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int status;

    if (fd < 0) {
        tell("%s: %s", path, strerror(errno));
        return EXIT_USAGE;
    }
    status = check_open(fd, path);
    close(fd);
    return status;
}

static int format(const char *path, const char *size_text)
{
    struct record_header header;
    uint64_t size_bytes, area_bytes;
    int fd;

    if (!size_arg_parse(size_text, INT64_MAX, &size_bytes) || size_bytes % RECORD_BYTES ||
        size_bytes < (RECORD_SLOTS_MIN + 1) * RECORD_BYTES) {
        tell("%s: not a size for a disk (a multiple of 4K, at least 12K)", size_text);
        return EXIT_USAGE;
    }
    area_bytes = size_bytes < RECORD_AREA_MAX_BYTES ? size_bytes : RECORD_AREA_MAX_BYTES;
    record_header_make(&header, area_bytes / RECORD_BYTES - 1);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0) {
        tell("%s: %s", path, strerror(errno));
        return EXIT_USAGE;
    }
    if (ftruncate(fd, (off_t)size_bytes) ||
        pwrite(fd, &header, sizeof(header), 0) != sizeof(header) || fsync(fd) || close(fd)) {
        tell("%s: %s", path, strerror(errno));
        unlink(path);
        return EXIT_FINDINGS;
    }
    return 0;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"format", no_argument, NULL, 'f'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    bool want_format = false;
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'f') {
            want_format = true;
        } else if (option == 'h') {
            fputs(usage_text, stdout);
            return 0;
        } else {
            fputs(usage_text, stderr);
            return EXIT_USAGE;
        }
    }
    if (argc - optind != (want_format ? 2 : 1)) {
        fputs(usage_text, stderr);
        return EXIT_USAGE;
    }
    return want_format ? format(argv[optind], argv[optind + 1]) : check(argv[optind]);
}
