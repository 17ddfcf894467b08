/* SPDX-License-Identifier: Apache-2.0 */
/* godwit relocate SOURCE... DESTINATION: disk images onto an NFS share. */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/resource.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/store_local.h"
#include "core/store_null.h"
#include "nfs/share.h"
#include "tools/command.h"
#include "tools/report_relocate.h"

enum {
    RELOCATE_RANGE_BYTES = 64 << 20,
    RELOCATE_FLIGHT_MAX_BYTES = 64 << 20, /* in blocks under way: what the copy takes in memory */
    RELOCATE_SOURCES_MAX = 4096,
};

struct relocate_arguments {
    bool overwrite;
    uint64_t connections;
    uint64_t depth;
    uint64_t block_bytes;
    int data_path;
    bool json;
    const char *progress_fd;
    bool verbose;
};

#define AT(field) offsetof(struct relocate_arguments, field)

static const char *const data_paths[] = {
    [SHARE_PATH_AUTO] = "auto", [SHARE_PATH_OWN] = "own", [SHARE_PATH_LIBNFS] = "libnfs", NULL};

static const struct option_def options[] = {
    {"overwrite", 0, OPTION_FLAG, NULL,
     "replace images that exist at the destination, each once its new copy is whole",
     AT(overwrite), 0, 0, NULL},
    {"connections", 0, OPTION_COUNT, "N", "use N connections to the server (4)", AT(connections), 1,
     64, NULL},
    {"depth", 0, OPTION_COUNT, "N", "keep N writes under way on each connection (16)", AT(depth), 1,
     1024, NULL},
    {"block-size", 0, OPTION_SIZE, "SIZE",
     "read and write this much at once (1M), as far as the server takes it", AT(block_bytes), 0, 0,
     NULL},
    {"data-path", 0, OPTION_CHOICE, "auto|own|libnfs",
     "who sends the data: godwit itself, without a copy, or libnfs (auto: godwit, where the "
     "connection is plain TCP)",
     AT(data_path), 0, 0, data_paths},
    {"json", 0, OPTION_FLAG, NULL, "print the result as one JSON object", AT(json), 0, 0, NULL},
    {"progress", 0, OPTION_TEXT, "FD", "write progress to this descriptor, one JSON object a line",
     AT(progress_fd), 0, 0, NULL},
    {"verbose", 'v', OPTION_FLAG, NULL, "say each step, and what the server answers",
     AT(verbose), 0, 0, NULL},
    OPTION_END,
};

struct relocate_call {
    struct relocate_arguments arg;
    size_t n;
    char **sources; /* of argv */
    const char *destination;
    struct ring *ring;
    struct store_place *to;
    struct relocate_job *jobs; /* n; each has its own `from` and `name` */
    struct progress progress;
    struct report_relocate report;
};

static volatile sig_atomic_t interrupted;

static void relocate_interrupt(int sig)
{
    (void)sig;
    interrupted = 1;
}

/* SIGINT and SIGTERM end the copy in good order. */
static void relocate_catch_signals(void)
{
    struct sigaction stop = {.sa_handler = relocate_interrupt};
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGTERM, &stop, NULL);
}

/*
 * libnfs, where it sends the data, allocates a buffer for each WRITE. By default malloc would map
 * and unmap that memory each time, and the kernel would clear it: a fifth of the CPU time.
 */
static void relocate_tune_malloc(void)
{
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 512 << 20);
}

/* For tests, and for hosts on which io_uring misbehaves: GODWIT_RING=syscalls. */
static enum ring_backend relocate_ring_backend(void)
{
    const char *want = getenv("GODWIT_RING");
    if (want != NULL && strcmp(want, "syscalls") == 0)
        return RING_SYSCALLS;
    return want != NULL && strcmp(want, "uring") == 0 ? RING_URING : RING_AUTO;
}

/* ---- opening ---- */

/* Splits a path into the place (its directory) and the name in it. */
static int relocate_source(struct relocate_call *c, size_t i, struct err *e)
{
    CLEANUP_FREE char *path = strdup(c->sources[i]);
    if (path == NULL)
        return err_set(e, ERR_IO, ENOMEM, "%s", c->sources[i]);
    for (size_t len = strlen(path); len > 1 && path[len - 1] == '/'; len--)
        path[len - 1] = '\0';
    char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    if (slash != NULL && *name == '\0')
        name = "."; /* "/" */
    else if (*name == '\0')
        return err_set(e, ERR_USAGE, 0, "a source has an empty name");

    struct relocate_job *job = &c->jobs[i];
    job->to = c->to;
    job->name = strdup(name);
    if (job->name == NULL)
        return err_set(e, ERR_IO, ENOMEM, "%s", c->sources[i]);
    if (slash != NULL)
        slash[slash == path ? 1 : 0] = '\0';
    job->from = store_local_open(c->ring, slash != NULL ? path : "", e);
    if (job->from == NULL) {
        e->class = ERR_REFUSED;
        return -1;
    }
    return 0;
}

static struct store_place *relocate_destination(struct relocate_call *c, struct err *e)
{
    if (strcmp(c->destination, "null:") == 0)
        return store_null_open(c->ring, e);
    if (strncmp(c->destination, "nfs:", 4) == 0) {
        const struct share_options o = {
            .connections = (unsigned)c->arg.connections,
            .depth = (unsigned)c->arg.depth,
            .path = (enum share_path)c->arg.data_path,
        };
        return share_open(c->ring, c->destination, &o, e);
    }
    err_set(e, ERR_USAGE, 0, "%s: is no destination", c->destination);
    err_hint(e, "the last operand is nfs://HOST/EXPORT/DIRECTORY/ or null:");
    return NULL;
}

static int relocate_check_usage(struct relocate_call *c, struct err *e)
{
    uint64_t block = c->arg.block_bytes;
    if (block < 4096 || block > RELOCATE_FLIGHT_MAX_BYTES || block % 4096 != 0)
        return err_set(e, ERR_USAGE, 0, "--block-size: must be a multiple of 4K, and at most 64M");
    return progress_init(&c->progress, c->arg.progress_fd, c->arg.verbose, e);
}

static int relocate_open(struct relocate_call *c, struct err *e)
{
    c->jobs = calloc(c->n, sizeof *c->jobs);
    c->report.files = calloc(c->n, sizeof *c->report.files);
    if (c->jobs == NULL || c->report.files == NULL)
        return err_set(e, ERR_IO, ENOMEM, "%zu sources", c->n);
    c->ring = ring_new(relocate_ring_backend(), e);
    if (c->ring == NULL)
        return -1;
    c->to = relocate_destination(c, e);
    if (c->to == NULL)
        return -1;
    for (size_t i = 0; i < c->n; i++)
        if (relocate_source(c, i, e) < 0)
            return -1;
    return relocate_check(c->jobs, c->n, c->arg.overwrite, e);
}

static void relocate_close(struct relocate_call *c)
{
    for (size_t i = 0; i < c->n && c->jobs != NULL; i++) {
        if (c->jobs[i].from != NULL)
            c->jobs[i].from->ops->place_close(c->jobs[i].from);
        free((char *)(uintptr_t)c->jobs[i].name);
    }
    for (size_t i = 0; i < c->n && c->report.files != NULL; i++)
        free(c->report.files[i].destination);
    if (c->to != NULL)
        c->to->ops->place_close(c->to);
    ring_free(c->ring);
    free(c->jobs);
    free(c->report.files);
}

/* ---- running ---- */

static unsigned relocate_blocks(const struct relocate_call *c)
{
    uint64_t depth = c->to->depth > 0 ? c->to->depth : c->arg.depth;
    uint64_t most = RELOCATE_FLIGHT_MAX_BYTES / c->arg.block_bytes;
    return (unsigned)(depth < most ? depth : most);
}

static int relocate_one(struct relocate_call *c, size_t i, struct err *e)
{
    struct report_relocate_file *f = &c->report.files[i];
    const struct relocate_job *job = &c->jobs[i];
    const struct relocate_options o = {
        .overwrite = c->arg.overwrite,
        .copy = {
            .block_bytes = (uint32_t)c->arg.block_bytes,
            .blocks = relocate_blocks(c),
            .range_bytes = RELOCATE_RANGE_BYTES,
            .cancel = &interrupted,
            .progress = report_relocate_progress,
            .progress_arg = &c->report,
        },
    };
    c->report.n = i + 1;
    c->report.source = f->source = c->sources[i];
    if (asprintf(&f->destination, "%s%s", job->to->url, job->name) < 0) {
        f->destination = NULL;
        return err_set(e, ERR_IO, ENOMEM, "%s", f->source);
    }
    if (relocate_run(job, &o, &f->result, e) < 0)
        return -1;
    f->done = true;
    c->report.done++;
    return 0;
}

static int64_t relocate_cpu_ns(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (int64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * NS_PER_S +
           (int64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * NS_PER_US;
}

static const char *relocate_result(int rc, const struct err *e)
{
    if (rc == 0)
        return "done";
    if (e->class == ERR_CANCELLED)
        return "cancelled";
    return e->class == ERR_USAGE || e->class == ERR_REFUSED ? "refused" : "failed";
}

static int relocate_finish(struct relocate_call *c, int rc, const struct err *e)
{
    struct report_relocate *r = &c->report;
    r->result = relocate_result(rc, e);
    progress_clear(&c->progress);
    if (c->arg.json)
        report_relocate_json(r, e, stdout);
    else if (r->done > 0)
        report_relocate_text(r, stdout);
    if (rc == 0)
        return EXIT_DONE;
    int code = command_fail(e);
    if (code == EXIT_FAILED || code == EXIT_CANCELLED)
        fprintf(stderr, "godwit: %zu of %zu images were relocated; the sources are as before\n",
                r->done, c->n);
    return code;
}

static int relocate_main(const struct command *self, int argc, char **argv)
{
    struct relocate_call c = {
        .arg = {.connections = 4, .depth = 16, .block_bytes = 1 << 20},
        .progress = {.fd = -1},
    };
    struct err e = {0};
    int code;
    int first = command_parse(self, &c.arg, argc, argv, 2, RELOCATE_SOURCES_MAX + 1, &code);
    if (first < 0)
        return code;
    command_log_level(c.arg.verbose ? LOG_DEBUG : LOG_WARN);
    relocate_catch_signals();
    relocate_tune_malloc();
    c.n = (size_t)(argc - first - 1);
    c.sources = argv + first;
    c.destination = argv[argc - 1];
    c.report.progress = &c.progress;

    int64_t started_ns = clock_now_ns();
    int rc = relocate_check_usage(&c, &e) < 0 || relocate_open(&c, &e) < 0 ? -1 : 0;
    for (size_t i = 0; rc == 0 && i < c.n; i++)
        rc = relocate_one(&c, i, &e);
    c.report.wall_ns = clock_now_ns() - started_ns;
    c.report.cpu_ns = relocate_cpu_ns();
    code = relocate_finish(&c, rc, &e);
    relocate_close(&c);
    return code;
}

const struct command command_relocate = {
    .name = "relocate",
    .operands = "SOURCE... DESTINATION",
    .summary = "Copy disk images onto an NFS share",
    .details =
        "A SOURCE is a file or a block device. DESTINATION is nfs://HOST/EXPORT/DIRECTORY/,\n"
        "or null: to read and hash only. Holes stay holes; mode, owner and times are kept;\n"
        "an image has its name only when it is whole and durable. Sources are only read.\n",
    .options = options,
    .run = relocate_main,
};
