/* SPDX-License-Identifier: Apache-2.0 */
/* godwit predict SRC DST: what a migration would be like, without touching the guest. */
#include "core/clock.h"
#include "tools/cmd/command.h"
#include "tools/cmd/predict.h"

struct predict_call {
    struct migrate_request request;
    uint64_t link_bytes_per_s; /* UINT64_MAX: not given */
    struct migrate_sides sides;
    struct predict_input in;
    struct predict_result result;
};

#define AT(field) offsetof(struct predict_call, field)

static const struct option_def options[] = {
    {"link", 0, OPTION_RATE, "RATE",
     "what the link between the hosts carries (1gbit, 100M), if that is known; without it, what "
     "earlier migrations between them reached, else a guess by the card's speed",
     AT(link_bytes_per_s), 0, 0, NULL},
    {"migrate", 0, OPTION_TABLE, NULL, NULL, AT(request.opt), 0, 0, migrate_request_options},
    OPTION_END,
};

static int predict_check_usage(struct predict_call *c, char **operands, struct err *e)
{
    if (c->link_bytes_per_s == 0)
        return err_set(e, ERR_USAGE, 0, "--link: must be above 0");
    if (migrate_request_check(&c->request, operands, e) < 0)
        return -1;
    c->request.domain.guard = NULL; /* there is nothing to be guarded */
    return 0;
}

static int predict_do(struct predict_call *c, int64_t began_ns, struct err *e)
{
    uint64_t link = c->link_bytes_per_s == UINT64_MAX ? 0 : c->link_bytes_per_s;
    if (migrate_sides_open(&c->sides, &c->request, e) < 0 ||
        predict_look(&c->sides, &c->request, link, began_ns, &c->in, e) < 0)
        return -1;
    c->in.promise = c->request.control.promise;
    if (c->request.opt.observe.n > 0) /* the pause is then what observers would see of it */
        c->in.costs.pause_ns = estimate_add(c->in.costs.pause_ns, c->in.found.warm_up_ns);
    if (c->request.settings.downtime_limit_ns > 0)
        c->in.limit_ns = c->request.settings.downtime_limit_ns;
    predict_judge(&c->in, &c->result);
    return 0;
}

/* 0: kept; 2: cannot be kept, or would be refused; 1: could not be found out. */
static int predict_exit(const struct predict_call *c, int rc, const struct err *e)
{
    if (rc == 0)
        return c->result.verdict == PREDICT_KEPT       ? EXIT_DONE
               : c->result.verdict == PREDICT_NOT_KEPT ? EXIT_REFUSED
                                                       : EXIT_FAILED;
    int code = command_fail(e);
    return code == EXIT_UNCERTAIN ? EXIT_FAILED : code;
}

static int predict_main(const struct command *self, int argc, char **argv)
{
    static struct predict_call c;
    struct err e = {0};
    int code;
    int64_t began_ns = clock_now_ns();
    c.link_bytes_per_s = UINT64_MAX;
    migrate_request_init(&c.request);
    int first = command_parse(self, &c, argc, argv, 2, 2, &code);
    if (first < 0)
        return code;
    command_log_level(c.request.opt.verbose ? LOG_DEBUG : LOG_WARN);
    int rc = predict_check_usage(&c, argv + first, &e) == 0 ? predict_do(&c, began_ns, &e) : -1;
    if (c.request.opt.json)
        report_predict_json(&c.in, rc == 0 ? &c.result : NULL, &e, clock_now_ns() - began_ns,
                            stdout);
    else if (rc == 0)
        report_predict_text(&c.in, &c.result, stdout);
    code = predict_exit(&c, rc, &e);
    migrate_sides_close(&c.sides);
    return code;
}

const struct command command_predict = {
    .name = "predict",
    .operands = "SRC DST",
    .summary = "Tell what a migration would be like, and what it can promise",
    .details =
        "SRC, DST and the options are those of 'godwit migrate'. It takes some seconds, in which it\n"
        "measures what the guest dirties; the guest runs on, and nothing is set. Exit code: 0 it\n"
        "converges and keeps what is promised, 2 it does not, or migrate would refuse it, 1 that\n"
        "could not be found out.\n",
    .options = options,
    .run = predict_main,
};
