/* SPDX-License-Identifier: Apache-2.0 */
/* godwit bench relocate SOURCE... SHARE-URL: relocate against other tools and its own ceilings. */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "core/cleanup.h"
#include "core/log.h"
#include "core/units.h"
#include "tools/cmd/bench.h"
#include "tools/cmd/report_bench.h"

enum {
    BENCH_SOURCES_MAX = 100000,
    BENCH_LIST_MAX = 8, /* values in one dimension of the matrix */
    BENCH_VARIANTS_MAX = 64,
    BENCH_ROUNDS_MAX = 10000,
};

static const char *const directions[] = {[DIRECTION_TO_SHARE] = "to-share",
                                         [DIRECTION_FROM_SHARE] = "from-share",
                                         [DIRECTION_SHARE_TO_NULL] = "share-to-null",
                                         NULL};

static const char *const data_paths[] = {"auto", "own", "libnfs", NULL};

struct bench_relocate_arguments {
    int direction;
    const char *local, *sink;
    uint64_t rounds;
    const char *connections, *depth, *block_size; /* lists */
    int data_path;                                /* -1: not given */
    const char *only;
    bool cold;
    uint64_t seed, server_pid;
    bool json;
    const char *progress_fd;
    bool verbose;
};

#define AT(field) offsetof(struct bench_relocate_arguments, field)

static const struct option_def options[] = {
    {"direction", 0, OPTION_CHOICE, "to-share|from-share|share-to-null",
     "what is timed: SOURCE to the share (to-share), or back from it, to --local or to nowhere",
     AT(direction), 0, 0, directions},
    {"local", 0, OPTION_TEXT, "DIR", "with --direction=from-share: copy into this directory",
     AT(local), 0, 0, NULL},
    {"sink", 0, OPTION_TEXT, "URL",
     "a directory on a share of the same server that drops the data: also time godwit there",
     AT(sink), 0, 0, NULL},
    {"rounds", 0, OPTION_COUNT, "N", "let each tool run N times (7)", AT(rounds), 1,
     BENCH_ROUNDS_MAX, NULL},
    {"connections", 0, OPTION_TEXT, "N,...",
     "run godwit with each of these; as with --depth and --block-size, in all combinations",
     AT(connections), 0, 0, NULL},
    {"depth", 0, OPTION_TEXT, "N,...", "run godwit with each of these", AT(depth), 0, 0, NULL},
    {"block-size", 0, OPTION_TEXT, "SIZE,...", "run godwit with each of these", AT(block_size), 0,
     0, NULL},
    {"data-path", 0, OPTION_CHOICE, "auto|own|libnfs", "passed on to godwit relocate",
     AT(data_path), 0, 0, data_paths},
    {"only", 0, OPTION_TEXT, "NAME,...",
     "only these: godwit, nfs-cp, qemu-img, sink, disk, null (all)", AT(only), 0, 0, NULL},
    {"cold", 0, OPTION_FLAG, NULL,
     "take the source out of the page cache before each run, and do not touch memory for the copy "
     "before it",
     AT(cold), 0, 0, NULL},
    {"seed", 0, OPTION_COUNT, "N", "shuffle the rounds as that run did", AT(seed), 0, UINT32_MAX,
     NULL},
    {"server-pid", 0, OPTION_COUNT, "PID",
     "the server runs here, as this process: show its CPU time, too", AT(server_pid), 1, INT32_MAX,
     NULL},
    {"json", 0, OPTION_FLAG, NULL, "print the result as one JSON object, with every single run",
     AT(json), 0, 0, NULL},
    {"progress", 0, OPTION_TEXT, "FD", "write progress to this descriptor, one JSON object a line",
     AT(progress_fd), 0, 0, NULL},
    {"verbose", 'v', OPTION_FLAG, NULL, "say what the server answers between the runs", AT(verbose),
     0, 0, NULL},
    OPTION_END,
};

/* ---- the matrix ---- */

/* One dimension: an option of godwit relocate, and its values. */
struct bench_dimension {
    const char *option; /* "--depth" */
    char letter;        /* in labels */
    bool is_size;
    char *text; /* the list, cut into words; NULL: the option is not given */
    const char *value[BENCH_LIST_MAX];
    size_t n; /* at least 1; value[0] is NULL when it is not given */
};

static int bench_dimension_parse(struct bench_dimension *d, const char *list, struct err *e)
{
    d->n = 1;
    if (list == NULL)
        return 0;
    char *rest = d->text = strdup(list);
    if (rest == NULL)
        return err_set(e, ERR_IO, ENOMEM, "%s: cannot be read", d->option);
    d->n = 0;
    for (char *word; (word = strsep(&rest, ",")) != NULL; d->n++) {
        uint64_t number;
        if (d->n == BENCH_LIST_MAX)
            return err_set(e, ERR_USAGE, 0, "%s: has more than %d values", d->option,
                           BENCH_LIST_MAX);
        int rc = d->is_size ? units_parse_size(word, &number, e)
                            : units_parse_count(word, 1, 1024, &number, e);
        if (rc < 0)
            return err_wrap(e, "%s", d->option);
        d->value[d->n] = word;
    }
    return 0;
}

enum { BENCH_DIMENSIONS = 3 };

struct bench_matrix {
    struct bench_dimension dimension[BENCH_DIMENSIONS];
    struct tool_variant variants[BENCH_VARIANTS_MAX];
    size_t n;
};

/* Combination number `k`: the last dimension changes fastest. */
static void bench_variant(struct bench_matrix *m, size_t k, int data_path)
{
    struct tool_variant *v = &m->variants[k];
    const char **word = v->command.words;
    *word++ = "/proc/self/exe";
    *word++ = "relocate";
    if (data_path >= 0) {
        *word++ = "--data-path";
        *word++ = data_paths[data_path];
    }
    size_t len = (size_t)snprintf(v->label, sizeof v->label, "godwit");
    size_t stride = m->n;
    for (size_t i = 0; i < BENCH_DIMENSIONS; i++) {
        const struct bench_dimension *d = &m->dimension[i];
        stride /= d->n;
        const char *value = d->value[k / stride % d->n];
        if (value == NULL)
            continue;
        *word++ = d->option;
        *word++ = value;
        if (d->n > 1 && len < sizeof v->label)
            len +=
                (size_t)snprintf(v->label + len, sizeof v->label - len, " %c=%s", d->letter, value);
    }
}

static int bench_matrix_init(struct bench_matrix *m, const struct bench_relocate_arguments *a,
                             struct err *e)
{
    m->dimension[0] = (struct bench_dimension){.option = "--connections", .letter = 'c'};
    m->dimension[1] = (struct bench_dimension){.option = "--depth", .letter = 'd'};
    m->dimension[2] =
        (struct bench_dimension){.option = "--block-size", .letter = 'b', .is_size = true};
    if (bench_dimension_parse(&m->dimension[0], a->connections, e) < 0 ||
        bench_dimension_parse(&m->dimension[1], a->depth, e) < 0 ||
        bench_dimension_parse(&m->dimension[2], a->block_size, e) < 0)
        return -1;
    m->n = m->dimension[0].n * m->dimension[1].n * m->dimension[2].n;
    if (m->n > BENCH_VARIANTS_MAX)
        return err_set(e, ERR_USAGE, 0, "%zu combinations are more than %d", m->n,
                       BENCH_VARIANTS_MAX);
    for (size_t k = 0; k < m->n; k++)
        bench_variant(m, k, a->data_path);
    return 0;
}

static void bench_matrix_end(struct bench_matrix *m)
{
    for (size_t i = 0; i < BENCH_DIMENSIONS; i++)
        free(m->dimension[i].text);
}

/* ---- running ---- */

struct bench_relocate_call {
    struct bench_relocate_arguments arg;
    struct bench_matrix matrix;
    struct compare_options options;
    struct progress progress;
    struct report_bench report;
};

static int bench_check_usage(struct bench_relocate_call *b, const char *share, struct err *e)
{
    const struct bench_relocate_arguments *a = &b->arg;
    bool from_share = a->direction == DIRECTION_FROM_SHARE;
    if (strncmp(share, "nfs://", 6) != 0)
        return err_set(e, ERR_USAGE, 0, "%s: is not nfs://HOST/EXPORT/DIRECTORY/", share);
    if (a->sink != NULL && strncmp(a->sink, "nfs://", 6) != 0)
        return err_set(e, ERR_USAGE, 0, "--sink: %s: is not nfs://HOST/EXPORT/DIRECTORY/", a->sink);
    if (from_share != (a->local != NULL))
        return err_set(e, ERR_USAGE, 0, "--direction=from-share and --local go together");
    if (from_share && a->sink != NULL)
        return err_set(e, ERR_USAGE, 0, "--sink: has no meaning in this direction");
    if (progress_init(&b->progress, a->progress_fd, a->verbose, e) < 0)
        return -1;
    return bench_matrix_init(&b->matrix, a, e);
}

static void bench_options(struct bench_relocate_call *b, const char *share)
{
    b->options = (struct compare_options){
        .direction = (enum tool_direction)b->arg.direction,
        .share = share,
        .local = b->arg.local,
        .sink = b->arg.sink,
        .only = b->arg.only,
        .variants = b->matrix.variants,
        .variants_n = b->matrix.n,
        .rounds = b->arg.rounds,
        .seed = b->arg.seed,
        .cold = b->arg.cold,
        .server_pid = (pid_t)b->arg.server_pid,
        .cancel = bench_catch_signals(),
        .progress = report_bench_progress,
        .progress_arg = &b->report,
    };
}

static uint64_t bench_seed(void)
{
    uint32_t seed = 1;
    (void)!getrandom(&seed, sizeof seed, 0);
    return seed;
}

static int bench_finish(struct bench_relocate_call *b, int rc, const struct err *e)
{
    struct report_bench *r = &b->report;
    bool measured = r->compare.rounds_begun > 0;
    bool fault = measured && compare_has_fault(&r->compare);
    if (rc == 0)
        r->result = fault ? "failed" : "done";
    else
        r->result = e->class == ERR_CANCELLED                          ? "cancelled"
                    : e->class == ERR_USAGE || e->class == ERR_REFUSED ? "refused"
                                                                       : "failed";
    progress_clear(&b->progress);
    if (b->arg.json)
        report_bench_json(r, e, stdout);
    else if (measured)
        report_bench_text(r, stdout);
    if (rc < 0)
        return command_fail(e);
    if (!fault)
        return EXIT_DONE;
    fputs("godwit: error: not every tool did its work; see above\n", stderr);
    return EXIT_FAILED;
}

static int bench_relocate_main(const struct command *self, int argc, char **argv)
{
    CLEANUP_FREE struct bench_relocate_call *b = calloc(1, sizeof *b);
    struct err e = {0};
    int code;
    if (b == NULL) {
        err_set(&e, ERR_IO, ENOMEM, "cannot begin the benchmark");
        return command_fail(&e);
    }
    b->arg = (struct bench_relocate_arguments){.rounds = 7, .data_path = -1, .seed = bench_seed()};
    b->progress.fd = -1;
    int first = command_parse(self, &b->arg, argc, argv, 2, BENCH_SOURCES_MAX + 1, &code);
    if (first < 0)
        return code;
    command_log_level(b->arg.verbose ? LOG_DEBUG : LOG_WARN);
    b->report.direction = directions[b->arg.direction];
    b->report.progress = &b->progress;
    machine_look(&b->report.machine);

    const char *share = argv[argc - 1];
    int rc = bench_check_usage(b, share, &e);
    if (rc == 0) {
        bench_options(b, share);
        rc = compare_open(&b->report.compare, &b->options, argv + first, (size_t)(argc - first - 1),
                          &e);
    }
    if (rc == 0)
        rc = compare_run_all(&b->report.compare, &e);
    code = bench_finish(b, rc, &e);
    compare_close(&b->report.compare);
    bench_matrix_end(&b->matrix);
    return code;
}

const struct command command_bench_relocate = {
    .name = "bench relocate",
    .operands = "SOURCE... SHARE-URL",
    .summary = "Relocate against nfs-cp, qemu-img and its own ceilings",
    .details =
        "SOURCE is one or more local files, or one directory of files. SHARE-URL is an empty\n"
        "directory, nfs://HOST/EXPORT/DIRECTORY/: files are written there and removed again.\n"
        "Ceilings: \"sink\" is godwit onto the --sink, \"disk\" without a server, \"null\" from the\n"
        "share to nowhere. Exit code 1: a tool failed, or its copy was not the source.\n",
    .options = options,
    .run = bench_relocate_main,
};
