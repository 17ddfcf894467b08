/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cmd/promise.h"

#include <inttypes.h>
#include <string.h>

#include "core/clock.h"
#include "core/units.h"

#define AT(field) offsetof(struct promise_options, field)

#define PROMISE_NOT_GIVEN (-1)
/* QEMU throttles by 99 % at most, and takes a downtime limit of 2000 s at most. */
#define PROMISE_SLOWDOWN_MAX 99
#define PROMISE_DOWNTIME_MAX_NS (2000 * NS_PER_S)

const struct option_def promise_option_table[] = {
    {"max-downtime", 0, OPTION_DURATION, "TIME",
     "promise that the guest's processors stand still no longer than this (50ms); with --observe, that "
     "the silence seen from outside is no longer",
     AT(max_downtime_ns), 0, 0, NULL},
    {"max-time", 0, OPTION_DURATION, "TIME",
     "promise that all of it takes no longer than this (2m)", AT(max_time_ns), 0, 0, NULL},
    {"max-slowdown", 0, OPTION_TEXT, "PERCENT",
     "of its time that the guest's processors may be kept from running, with --allow throttle (20%)",
     AT(max_slowdown), 0, 0, NULL},
    {"allow", 0, OPTION_TEXT, "throttle,postcopy",
     "what may be done so that a promise is kept, or an end is reached: slow down the guest's processors, "
     "let it run on the destination before all of it is there",
     AT(allow), 0, 0, NULL},
    {"on-miss", 0, OPTION_CHOICE, "refuse|abort|postcopy|pause|stretch",
     "what is done when it cannot be kept: refuse (before anything is touched; later as abort), abort, "
     "go on by postcopy, pause the guest and send the rest, or stretch the pause as far as it must",
     AT(on_miss), 0, 0, promise_on_miss_names},
    OPTION_END,
};

void promise_options_init(struct promise_options *o)
{
    *o = (struct promise_options){.max_downtime_ns = PROMISE_NOT_GIVEN,
                                  .max_time_ns = PROMISE_NOT_GIVEN,
                                  .on_miss = PROMISE_NOT_GIVEN};
}

static int promise_parse_slowdown(const char *text, unsigned *percent, struct err *e)
{
    char number[16];
    uint64_t n;
    size_t len = strlen(text);
    if (len < 2 || len >= sizeof number || text[len - 1] != '%')
        return err_set(e, ERR_USAGE, 0, "--max-slowdown: '%s' is not a percentage, like 20%%",
                       text);
    memcpy(number, text, len - 1);
    number[len - 1] = '\0';
    if (units_parse_count(number, 1, PROMISE_SLOWDOWN_MAX, &n, e) < 0)
        return err_wrap(e, "--max-slowdown");
    *percent = (unsigned)n;
    return 0;
}

static int promise_parse_allow(const char *text, unsigned *allow, struct err *e)
{
    static const struct {
        const char *name;
        unsigned bit;
    } words[] = {{"throttle", PROMISE_THROTTLE}, {"postcopy", PROMISE_POSTCOPY}};
    enum { WORDS = sizeof words / sizeof *words };
    for (;;) {
        size_t len = strcspn(text, ","), i = 0;
        while (i < WORDS &&
               (strlen(words[i].name) != len || strncmp(words[i].name, text, len) != 0))
            i++;
        if (i == WORDS)
            return err_set(e, ERR_USAGE, 0, "--allow: '%.*s' is neither throttle nor postcopy",
                           (int)len, text);
        if (*allow & words[i].bit)
            return err_set(e, ERR_USAGE, 0, "--allow: '%s' is given twice", words[i].name);
        *allow |= words[i].bit;
        if (text[len] == '\0')
            return 0;
        text += len + 1;
    }
}

static int promise_read(const struct promise_options *o, struct promise *p, struct err *e)
{
    if (o->max_downtime_ns == 0 || o->max_downtime_ns > PROMISE_DOWNTIME_MAX_NS)
        return err_set(e, ERR_USAGE, 0, "--max-downtime: must be above 0 and at most 2000s");
    if (o->max_time_ns == 0)
        return err_set(e, ERR_USAGE, 0, "--max-time: must be above 0");
    *p = (struct promise){
        .max_downtime_ns = o->max_downtime_ns > 0 ? o->max_downtime_ns : 0,
        .max_time_ns = o->max_time_ns > 0 ? o->max_time_ns : 0,
        .max_throttle_percent = PROMISE_SLOWDOWN_MAX,
        .on_miss = o->on_miss > 0 ? (enum promise_on_miss)o->on_miss : PROMISE_REFUSE,
    };
    if (o->max_slowdown != NULL &&
        promise_parse_slowdown(o->max_slowdown, &p->max_throttle_percent, e) < 0)
        return -1;
    return o->allow != NULL ? promise_parse_allow(o->allow, &p->allow, e) : 0;
}

int promise_check(const struct promise_options *o, const struct vm_settings *s, struct promise *p,
                  struct err *e)
{
    if (promise_read(o, p, e) < 0)
        return -1;
    if (!promise_is_made(p) && o->on_miss > PROMISE_NOT_GIVEN)
        return err_set(e, ERR_USAGE, 0, "--on-miss needs --max-downtime or --max-time");
    if (p->max_time_ns > 0 && p->max_downtime_ns > p->max_time_ns)
        return err_set(e, ERR_USAGE, 0,
                       "--max-downtime is longer than --max-time, which has it in it");
    if (o->max_slowdown != NULL && (p->allow & PROMISE_THROTTLE) == 0)
        return err_set(e, ERR_USAGE, 0, "--max-slowdown needs --allow throttle");
    bool postcopy = (p->allow & PROMISE_POSTCOPY) != 0 || p->on_miss == PROMISE_TO_POSTCOPY;
    if (postcopy && s->multifd_channels > 0)
        return err_set(e, ERR_USAGE, 0, "--multifd and postcopy cannot be used together");
    return 0;
}

void promise_judge_silence(struct migrate_pause *pause, int64_t promised_ns, int64_t silence_ns,
                           bool open)
{
    if (pause->limit == MIGRATE_LIMIT_NOT_MEANT)
        return;
    pause->excess_ns = -1;
    if (silence_ns < 0 || (open && silence_ns <= promised_ns)) {
        pause->limit = MIGRATE_LIMIT_UNKNOWN;
        return;
    }
    pause->limit = silence_ns > promised_ns ? MIGRATE_LIMIT_MISSED : MIGRATE_LIMIT_KEPT;
    pause->excess_ns = silence_ns > promised_ns ? silence_ns - promised_ns : 0;
}
