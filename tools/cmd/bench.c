/* SPDX-License-Identifier: Apache-2.0 */
/* godwit bench WHAT: each benchmark is a subcommand of its own, tools/cmd/bench_WHAT.c. */
#include "tools/cmd/bench.h"

#include <string.h>

static const struct command *const benches[] = {
    &command_bench_migrate,  &command_bench_compare,
    &command_bench_observe,  &command_bench_relocate,
    &command_bench_replay,   &command_bench_report,
    &command_bench_selftest, &command_bench_simulate,
    &command_bench_tune,     NULL,
};

static const struct option_def options[] = {OPTION_END};

static volatile sig_atomic_t interrupted;

static void bench_interrupt(int sig)
{
    (void)sig;
    interrupted = 1;
}

const volatile sig_atomic_t *bench_catch_signals(void)
{
    struct sigaction stop = {.sa_handler = bench_interrupt};
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGHUP, &stop, NULL);
    signal(SIGPIPE, SIG_IGN); /* who reads us may go: what was started must still be ended */
    return &interrupted;
}

static void bench_usage(const struct command *self)
{
    command_usage(self, stdout);
    for (const struct command *const *b = benches; *b != NULL; b++)
        printf("  %-16s %s\n", (*b)->name, (*b)->summary);
}

static int bench_main(const struct command *self, int argc, char **argv)
{
    for (const struct command *const *b = benches; argc > 1 && *b != NULL; b++)
        if (strcmp((*b)->name + strlen(self->name) + 1, argv[1]) == 0)
            return (*b)->run(*b, argc - 1, argv + 1);
    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        bench_usage(self);
        return EXIT_DONE;
    }
    struct err e = {0};
    if (argc > 1)
        err_set(&e, ERR_USAGE, 0, "bench: '%s' is no benchmark", argv[1]);
    else
        err_set(&e, ERR_USAGE, 0, "bench: an operand is missing");
    err_hint(&e, "'godwit bench --help' lists them");
    return command_fail(&e);
}

const struct command command_bench = {
    .name = "bench",
    .operands = "BENCHMARK [ARGUMENT]...",
    .summary = "Measure godwit against other tools",
    .details = "Benchmarks ('godwit bench BENCHMARK --help' says more):\n",
    .options = options,
    .run = bench_main,
    .subcommands = benches,
};
