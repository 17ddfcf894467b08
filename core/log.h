/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the engine wants to say while it works. Nothing below tools/ prints: the program installs a
 * sink once, before it starts anything else, and everything goes there. Without a sink it is lost.
 */
#ifndef CORE_LOG_H
#define CORE_LOG_H

enum log_level {
    LOG_WARN,  /* something is not as it should be; the work goes on */
    LOG_INFO,  /* what is being done: a step, a phase */
    LOG_DEBUG, /* how: every QMP line, every retry (-v) */
};

typedef void log_sink_fn(enum log_level level, const char *line);

/* The sink gets one line without its newline, from any thread. NULL: none. */
void log_set_sink(log_sink_fn *sink);

void log_say(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_warn(...) log_say(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_say(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_say(LOG_DEBUG, __VA_ARGS__)

#endif
