/* SPDX-License-Identifier: Apache-2.0 */
#include "nfs/share_wait.h"

#include <stdatomic.h>

#include "core/log.h"

#define WAIT_CANCELLED_NS (1 * NS_PER_S) /* for what was asked before the operator stopped it */
#define WAIT_WORDS_NS (10 * NS_PER_S)    /* between two words */

void share_wait_begin(struct share_wait *w)
{
    w->start_ns = clock_now_ns();
    w->was_cancelled = w->cancel != NULL && *w->cancel != 0;
    w->said = false;
}

/* All workers of a copy lose the same server: one of them says so. */
static bool wait_may_say(_Atomic int64_t *last_ns)
{
    int64_t now_ns = clock_now_ns(), last = *last_ns;
    return (last == 0 || now_ns - last >= WAIT_WORDS_NS) &&
           atomic_compare_exchange_strong(last_ns, &last, now_ns);
}

void share_wait_say(const char *who, const char *what, int64_t silent_ns)
{
    static _Atomic int64_t last_ns;
    if (wait_may_say(&last_ns))
        log_warn("%s: no answer from %s for %d s, still waiting", who, what,
                 (int)(silent_ns / NS_PER_S));
}

void share_wait_busy(const char *who, int64_t busy_ns)
{
    static _Atomic int64_t last_ns;
    if (busy_ns >= SHARE_WAIT_WORD_NS && wait_may_say(&last_ns))
        log_warn("%s: the server has been busy for %d s (NFS3ERR_JUKEBOX), still asking", who,
                 (int)(busy_ns / NS_PER_S));
}

int share_wait_step(struct share_wait *w, struct err *e)
{
    int64_t now_ns = clock_now_ns();
    bool cancelled = !w->was_cancelled && w->cancel != NULL && *w->cancel != 0;
    if (cancelled && w->connecting)
        return err_set(e, ERR_CANCELLED, 0, "stopped while waiting for %s", w->what);
    if (cancelled && w->deadline_ns > now_ns + WAIT_CANCELLED_NS)
        w->deadline_ns = now_ns + WAIT_CANCELLED_NS;
    if (now_ns > w->deadline_ns)
        return err_set(e, ERR_TIMEOUT, 0, "no answer from %s within %.0f s", w->what,
                       (double)(w->deadline_ns - w->start_ns) / NS_PER_S);
    if (!w->said && w->who != NULL && now_ns - w->start_ns >= SHARE_WAIT_WORD_NS) {
        share_wait_say(w->who, w->what, now_ns - w->start_ns);
        w->said = true;
    }
    return 0;
}
