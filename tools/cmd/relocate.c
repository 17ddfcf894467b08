/* SPDX-License-Identifier: Apache-2.0 */
/* godwit relocate SOURCE... DESTINATION: disk images, usually onto an NFS share. */
#include <errno.h>
#include <linux/ioprio.h>
#include <malloc.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/relocate/manifest.h"
#include "nfs/share_check.h"
#include "tools/cmd/command.h"
#include "tools/cmd/hung.h"
#include "tools/cmd/relocate_call.h"
#include "tools/cmd/relocate_users.h"

enum {
    RELOCATE_CHUNK_BYTES = 64 << 20,
    RELOCATE_FLIGHT_MAX_BYTES = 64 << 20, /* in blocks under way: what the copy takes in memory */
    RELOCATE_SOURCES_MAX = 65536,
};

#define AT(field) offsetof(struct relocate_arguments, field)

static const char *const data_paths[] = {
    [SHARE_PATH_AUTO] = "auto", [SHARE_PATH_OWN] = "own", [SHARE_PATH_LIBNFS] = "libnfs", NULL};

enum { CHECKSUM_AUTO, CHECKSUM_WHOLE, CHECKSUM_CHUNKS };

static const char *const checksums[] = {
    [CHECKSUM_AUTO] = "auto", [CHECKSUM_WHOLE] = "whole", [CHECKSUM_CHUNKS] = "chunks", NULL};

static const char *const formats[] = {[IMAGE_FORMAT_ASK_PROBE] = "probe",
                                      [IMAGE_FORMAT_ASK_RAW] = "raw",
                                      [IMAGE_FORMAT_ASK_QCOW2] = "qcow2",
                                      NULL};

static const char *const targets[] = {[POOL_TARGET_FILE] = "file", [POOL_TARGET_NFS] = "nfs", NULL};

/* In the kernel's order, IOPRIO_CLASS_NONE first. */
static const char *const ionice_classes[] = {"none", "realtime", "best-effort", "idle", NULL};

static const struct option_def options[] = {
    {"recursive", 'r', OPTION_FLAG, NULL,
     "take directories, with all files and directories in them", AT(recursive), 0, 0, NULL},
    {"move", 0, OPTION_FLAG, NULL,
     "remove each source, once its image is durable, has its name, was read back and compared",
     AT(move), 0, 0, NULL},
    {"verify", 0, OPTION_FLAG, NULL,
     "read back what was written, and compare it, before an image gets its name", AT(verify), 0, 0,
     NULL},
    {"no-verify", 0, OPTION_FLAG, NULL, "with --move or --pool: do not read back", AT(no_verify), 0,
     0, NULL},
    {"verify-only", 0, OPTION_FLAG, NULL,
     "copy nothing: compare the images at the destination with their sources", AT(verify_only), 0,
     0, NULL},
    {"checksum", 0, OPTION_CHOICE, "auto|whole|chunks",
     "make the XXH3-128 checksum of each whole image, for which one thread alone reads it, and "
     "holes take 25 ms a GiB; or only those of chunks, which --verify and resuming need; auto: "
     "whole up to 16 GiB with no more than 4 GiB of holes",
     AT(checksum), 0, 0, checksums},
    {"manifest", 0, OPTION_TEXT, "FILE",
     "write the checksum of each whole image to FILE, for xxhsum -c", AT(manifest), 0, 0, NULL},
    {"format", 0, OPTION_CHOICE, "probe|raw|qcow2",
     "what the images are; of qcow2 the backing files go along, with probe (the default) an image "
     "that needs them is refused",
     AT(format), 0, 0, formats},
    {"overwrite", 0, OPTION_FLAG, NULL,
     "replace images that exist at the destination, each once its new copy is whole", AT(overwrite),
     0, 0, NULL},
    {"restart", 0, OPTION_FLAG, NULL,
     "begin anew where an earlier run was ended, instead of continuing", AT(restart), 0, 0, NULL},
    {"force", 0, OPTION_FLAG, NULL,
     "copy images that a running QEMU writes to, too, and replace such; with --move: also move what "
     "domains that do not run, snapshots or other images name, or where that cannot be found out, but "
     "never what a running QEMU writes to; with --undo: give up what was written or changed since; with "
     "--delete-originals: also delete where it cannot be found out whether somebody uses them",
     AT(force), 0, 0, NULL},
    {"connections", 0, OPTION_COUNT, "N", "use up to N connections, each with a thread (4)",
     AT(connections), 1, 64, NULL},
    {"depth", 0, OPTION_COUNT, "N", "keep up to N blocks under way on each connection (16)",
     AT(depth), 1, 1024, NULL},
    {"block-size", 0, OPTION_SIZE, "SIZE",
     "read and write up to this much at once (1M), as far as the server takes it", AT(block_bytes),
     0, 0, NULL},
    {"no-tune", 0, OPTION_FLAG, NULL,
     "use just these connections, depth and block size, instead of finding out how much of them "
     "brings something",
     AT(no_tune), 0, 0, NULL},
    {"bandwidth", 0, OPTION_RATE, "RATE", "read no faster than this, all in all", AT(bytes_per_s),
     0, 0, NULL},
    {"nice-cache", 0, OPTION_FLAG, NULL, "leave this host's page cache as it was", AT(nice_cache),
     0, 0, NULL},
    {"ionice", 0, OPTION_CHOICE, "none|realtime|best-effort|idle",
     "scheduling class of this host's disk I/O, as ionice(1)", AT(ionice), 0, 0, ionice_classes},
    {"timeout", 0, OPTION_DURATION, "TIME",
     "give up on a server that has been lost or busy for so long (60s)", AT(timeout_ns), 0, 0,
     NULL},
    {"data-path", 0, OPTION_CHOICE, "auto|own|libnfs",
     "who speaks READ and WRITE: godwit itself, without a copy, or libnfs (auto: godwit, where the "
     "connection is plain TCP)",
     AT(data_path), 0, 0, data_paths},
    {"pool", 0, OPTION_TEXT, "POOL",
     "move the volumes of this storage pool; the pool, and all domains that use it, then point at "
     "the share",
     AT(pool), 0, 0, NULL},
    {"connect", 'c', OPTION_LIST, "URI",
     "a libvirt whose domains may use the images (this host's); with --pool the first is that of the "
     "pool, on this host (qemu:///system)",
     AT(connect), 0, 0, NULL},
    {"mount", 0, OPTION_TEXT, "PATH",
     "with --pool: where the share is mounted on this host; this becomes the pool's target path",
     AT(mount), 0, 0, NULL},
    {"target", 0, OPTION_CHOICE, "file|nfs",
     "with --pool: disks become files of the mount (the default), or network disks, for which QEMU "
     "speaks NFS itself",
     AT(target), 0, 0, targets},
    {"shutdown", 0, OPTION_FLAG, NULL, "with --pool: shut running domains that use it down first",
     AT(shutdown), 0, 0, NULL},
    {"shutdown-timeout", 0, OPTION_DURATION, "TIME",
     "with --shutdown: give up on a domain that does not shut down for so long (120s)",
     AT(shutdown_timeout_ns), 0, 0, NULL},
    {"dry-run", 0, OPTION_FLAG, NULL,
     "with --pool: check all, show what would be done, each XML as a diff, and touch nothing",
     AT(dry_run), 0, 0, NULL},
    {"undo", 0, OPTION_FLAG, NULL,
     "with --pool: put the pool and its domains back as they were before, and remove the copies",
     AT(undo), 0, 0, NULL},
    {"delete-originals", 0, OPTION_FLAG, NULL,
     "with --pool: delete the originals of one that was moved; there is no way back then",
     AT(delete_originals), 0, 0, NULL},
    {"state-dir", 0, OPTION_TEXT, "DIR", "with --pool: where its journal is (/var/lib/godwit)",
     AT(state_dir), 0, 0, NULL},
    {"json", 0, OPTION_FLAG, NULL, "print the result as one JSON object", AT(json), 0, 0, NULL},
    {"progress", 0, OPTION_TEXT, "FD", "write progress to this descriptor, one JSON object a line",
     AT(progress_fd), 0, 0, NULL},
    {"verbose", 'v', OPTION_FLAG, NULL, "say each step, and what the server answers", AT(verbose),
     0, 0, NULL},
    OPTION_END,
};

volatile sig_atomic_t relocate_interrupted;

static void relocate_interrupt(int sig)
{
    (void)sig;
    relocate_interrupted = 1;
}

void relocate_catch_signals(int flags)
{
    struct sigaction stop = {.sa_handler = relocate_interrupt, .sa_flags = flags};
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

/* ---- before ---- */

static int relocate_check_usage(struct relocate_call *c, struct err *e)
{
    const struct relocate_arguments *a = &c->arg;
    if (a->block_bytes < 4096 || a->block_bytes > RELOCATE_FLIGHT_MAX_BYTES ||
        a->block_bytes % 4096 != 0)
        return err_set(e, ERR_USAGE, 0, "--block-size: must be a multiple of 4K, and at most 64M");
    if (a->verify_only && (a->move || a->overwrite || a->restart || a->no_verify))
        return err_set(e, ERR_USAGE, 0,
                       "--verify-only copies nothing: not with --move, --overwrite, --restart");
    if (a->manifest != NULL && a->checksum == CHECKSUM_CHUNKS)
        return err_set(e, ERR_USAGE, 0, "--manifest needs --checksum=whole");
    if (a->no_verify && a->verify)
        return err_set(e, ERR_USAGE, 0, "--verify and --no-verify exclude each other");
    return progress_init(&c->progress, a->progress_fd, a->verbose, e);
}

static void relocate_set_options(struct relocate_call *c)
{
    const struct relocate_arguments *a = &c->arg;
    c->options = (struct relocate_options){
        .recursive = a->recursive,
        .overwrite = a->overwrite,
        .restart = a->restart,
        .force = a->force,
        .verify = a->verify || (a->move && !a->no_verify),
        .verify_only = a->verify_only,
        .move = a->move,
        .may_remove = relocate_may_remove,
        .may_remove_arg = c,
        .format = (enum image_format_ask)a->format,
        .whole_sums = a->manifest != NULL || a->checksum == CHECKSUM_WHOLE,
        .chunk_sums = a->checksum == CHECKSUM_CHUNKS,
        .ring = relocate_ring_backend(),
        .workers_max = (unsigned)a->connections,
        .depth_max = (unsigned)a->depth,
        .block_bytes = (uint32_t)a->block_bytes,
        .chunk_bytes = RELOCATE_CHUNK_BYTES,
        .flight_bytes = RELOCATE_FLIGHT_MAX_BYTES,
        .fixed = a->no_tune,
        .bytes_per_s = a->bytes_per_s,
        .cancel = &relocate_interrupted,
        .progress = report_relocate_progress,
        .progress_arg = &c->report,
    };
    c->sites.nice_cache = a->nice_cache;
    c->sites.ring = c->options.ring;
    c->sites.connections_left = (int)a->connections + 1; /* the plan opens its places, too */
    c->sites.share = (struct share_options){
        .connections_left = &c->sites.connections_left,
        .timeout_ns = a->timeout_ns,
        .path = (enum share_path)a->data_path,
        .cancel = &relocate_interrupted,
    };
}

/* Threads that are made later inherit it. */
static int relocate_set_ionice(int class, struct err *e)
{
    const int best = class == IOPRIO_CLASS_IDLE ? 0 : IOPRIO_BE_NORM;
    if (class == IOPRIO_CLASS_NONE)
        return 0;
    if (syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_PRIO_VALUE(class, best)) < 0)
        return err_set(e, ERR_REFUSED, errno, "--ionice=%s: cannot be set", ionice_classes[class]);
    return 0;
}

static int relocate_check_manifest(const struct relocate_call *c, struct err *e)
{
    const struct relocate_image *image;
    for (size_t i = 0; (image = relocate_image(c->relocate, i)) != NULL; i++)
        if (manifest_check(image->as, e) < 0)
            return -1;
    return 0;
}

void relocate_call_init(struct relocate_call *c)
{
    *c = (struct relocate_call){
        .arg = {.connections = 4,
                .depth = 16,
                .block_bytes = 1 << 20,
                .timeout_ns = 60 * NS_PER_S,
                .state_dir = "/var/lib/godwit",
                .shutdown_timeout_ns = 120 * NS_PER_S},
        .progress = {.fd = -1},
    };
}

int relocate_call_begin(struct relocate_call *c, struct err *e)
{
    if (relocate_check_usage(c, e) < 0 || relocate_set_ionice(c->arg.ionice, e) < 0)
        return -1;
    relocate_set_options(c);
    return 0;
}

int relocate_call_plan(struct relocate_call *c, char **sources, size_t n, const char *destination,
                       struct err *e)
{
    if (relocate_sites_open(&c->sites, sources, n, destination, c->options.recursive, e) < 0)
        return -1;
    if (c->options.move && c->sites.to->keeps_none)
        return err_set(e, ERR_USAGE, 0, "--move: nothing is kept in null:");
    c->relocate = relocate_plan(c->sites.sources, n, &c->sites.to->site, &c->options, e);
    return c->relocate != NULL ? 0 : -1;
}

void relocate_call_forget(struct relocate_call *c)
{
    relocate_free(c->relocate);
    c->relocate = NULL;
    relocate_sites_close(&c->sites);
    c->sites.dirs = NULL;
    c->sites.sources = NULL;
    c->sites.to = NULL;
    c->sites.n = c->sites.n_dirs = 0;
}

static int relocate_prepare(struct relocate_call *c, char **sources, size_t n,
                            const char *destination, struct err *e)
{
    if (relocate_call_begin(c, e) < 0 || relocate_call_plan(c, sources, n, destination, e) < 0)
        return -1;
    if (c->arg.manifest != NULL && relocate_check_manifest(c, e) < 0)
        return -1;
    if (c->arg.manifest != NULL && (c->manifest = fopen(c->arg.manifest, "we")) == NULL)
        return err_set(e, ERR_REFUSED, errno, "%s: cannot be written", c->arg.manifest);
    return 0;
}

/* ---- after ---- */

/* Of the images that are done, also when others failed. */
static int relocate_write_manifest(struct relocate_call *c, struct err *e)
{
    const struct relocate_image *image;
    if (c->manifest == NULL)
        return 0;
    for (size_t i = 0; (image = relocate_image(c->relocate, i)) != NULL; i++)
        if (image->state == RELOCATE_DONE &&
            manifest_line(c->manifest, image->xxh3_128, image->as, e) < 0)
            return -1;
    int rc = fclose(TAKE(c->manifest));
    return rc == 0 ? 0 : err_set(e, ERR_IO, errno, "%s: cannot be written", c->arg.manifest);
}

static int64_t relocate_cpu_ns(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (int64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * NS_PER_S +
           (int64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * NS_PER_US;
}

const char *relocate_call_result(int rc, const struct err *e)
{
    if (rc == 0)
        return "done";
    if (e->class == ERR_CANCELLED)
        return "cancelled";
    if (e->class == ERR_UNCERTAIN)
        return "uncertain";
    return e->class == ERR_USAGE || e->class == ERR_REFUSED ? "refused" : "failed";
}

static int relocate_finish(struct relocate_call *c, int rc, const struct err *e)
{
    struct report_relocate *r = &c->report;
    r->result = relocate_call_result(rc, e);
    r->relocate = c->relocate;
    r->verify_only = c->options.verify_only;
    r->to_url = c->sites.to != NULL ? c->sites.to->site.url : "";
    progress_clear(&c->progress);
    if (c->arg.json)
        report_relocate_json(r, e, stdout);
    else if (c->relocate != NULL)
        report_relocate_text(r, stdout);
    if (rc == 0)
        return EXIT_DONE;
    int code = command_fail(e);
    if (c->relocate != NULL && (code == EXIT_FAILED || code == EXIT_CANCELLED))
        report_relocate_where(r, stderr);
    return code;
}

static void relocate_close(struct relocate_call *c)
{
    relocate_call_forget(c);
    relocate_users_free(TAKE(c->users));
    if (c->manifest != NULL)
        fclose(c->manifest);
}

/* A pool's operand may be missing, and what is only for pools be given in vain. */
static int relocate_check_operands(const struct command *self, const struct relocate_arguments *a,
                                   int n)
{
    struct err e = {0};
    const char *only = a->undo               ? "--undo"
                       : a->delete_originals ? "--delete-originals"
                       : a->dry_run          ? "--dry-run"
                       : a->mount != NULL    ? "--mount"
                       : a->shutdown         ? "--shutdown"
                                             : NULL;
    if (only != NULL) {
        err_set(&e, ERR_USAGE, 0, "%s is for a pool: it needs --pool", only);
        return command_fail(&e);
    }
    if (n >= 2)
        return 0;
    err_set(&e, ERR_USAGE, 0, "%s: an operand is missing", self->name);
    err_hint(&e, "usage: godwit %s [OPTION]... %s (more: godwit %s --help)", self->name,
             self->operands, self->name);
    return command_fail(&e);
}

/* Once a source is removed there is only what the server calls durable. Whether that is so it does not
 * tell; how long it takes for it does. */
static void relocate_tell_quick(struct relocate_call *c)
{
    struct err e = {0};
    const struct share_user me = {geteuid(), getegid()};
    const char *url = c->sites.to->site.url;
    struct ring *ring = ring_new(c->sites.ring, &e);
    struct share_check *s = ring != NULL ? share_check_open(ring, url, &relocate_interrupted, &e)
                                         : NULL;
    if (s != NULL && share_check_is_quick(s, &me, &e) > 0)
        log_warn(
            "%s: calls a write durable as quickly as it answers a question: is it exported async? "
            "Then a power failure of the server loses images whose sources were removed",
            url);
    share_check_close(s);
    ring_free(ring);
    if (e.class != ERR_NONE)
        log_debug("%s", e.msg);
}

enum {
    RELOCATE_GRACE_S =
        10 /* to wait for what is under way, and to remove what is not worth keeping */
};

static const char *relocate_state(const void *arg, int *grace_s)
{
    const struct relocate_call *c = arg;
    if (!c->running)
        return "nothing was touched";
    *grace_s = RELOCATE_GRACE_S;
    return c->options.verify_only ? "nothing was touched"
           : c->options.move
               ? "copies that are whole stay, and so do the sources that are there still: run the same "
                 "again to continue"
               : "what is durable was kept: run the same again to continue";
}

/* Of images that are named one by one. */
static int relocate_images(struct relocate_call *c, char **sources, size_t n,
                           const char *destination)
{
    struct err e = {0};
    struct hung hung;
    int64_t started_ns = clock_now_ns();
    hung_begin(&hung, relocate_state, c);
    int rc = relocate_prepare(c, sources, n, destination, &e);
    bool planned = rc == 0;
    if (planned)
        rc = relocate_check_users(c, &e);
    if (rc < 0 && relocate_interrupted)
        err_stopped(&e);
    if (planned && rc < 0 && e.class != ERR_CANCELLED)
        e.class = ERR_REFUSED; /* nothing was touched, whatever the reason */
    if (rc == 0 && c->options.move && c->sites.to->is_share)
        relocate_tell_quick(c);
    if (rc == 0) {
        c->running = true;
        rc = relocate_run(c->relocate, &e);
    }
    hung_end(&hung);
    struct err unwritten = {0};
    if (relocate_write_manifest(c, &unwritten) < 0 && rc == 0) {
        e = unwritten;
        rc = -1;
    }
    c->report.wall_ns = clock_now_ns() - started_ns;
    c->report.cpu_ns = relocate_cpu_ns();
    return relocate_finish(c, rc, &e);
}

static int relocate_main(const struct command *self, int argc, char **argv)
{
    struct relocate_call c;
    int code;
    relocate_call_init(&c);
    int first = command_parse(self, &c.arg, argc, argv, 0, RELOCATE_SOURCES_MAX + 1, &code);
    if (first < 0)
        return code;
    if (c.arg.pool == NULL && (code = relocate_check_operands(self, &c.arg, argc - first)) != 0)
        return code;
    command_log_level(c.arg.verbose ? LOG_DEBUG : LOG_WARN);
    relocate_catch_signals(0);
    relocate_tune_malloc();
    c.report.progress = &c.progress;
    if (c.arg.pool != NULL)
        code = relocate_pool(&c, argv + first, argc - first);
    else
        code = relocate_images(&c, argv + first, (size_t)(argc - first - 1), argv[argc - 1]);
    relocate_close(&c);
    return code;
}

const struct command command_relocate = {
    .name = "relocate",
    .operands = "SOURCE... DESTINATION",
    .summary = "Copy or move disk images, usually onto an NFS share",
    .details =
        "A SOURCE is a file, a block device, nfs://HOST/EXPORT/FILE or, with -r, a directory.\n"
        "DESTINATION is a directory, nfs://HOST/EXPORT/DIRECTORY/, or null: to read only; a\n"
        "single SOURCE may get another name there. Holes stay holes; mode, owner and times are\n"
        "kept. An image has its name only when it is whole and durable. A run that was ended\n"
        "is continued by the next one.\n"
        "\n"
        "With --pool POOL the only operand is nfs://HOST/EXPORT/DIRECTORY, or none with --undo\n"
        "and --delete-originals. The domains must be shut off. The same command continues a\n"
        "run that was ended.\n",
    .options = options,
    .run = relocate_main,
};
