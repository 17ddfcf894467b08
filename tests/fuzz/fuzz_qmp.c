/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a QEMU, or whatever else has its socket, may say: an input is all of it, from the greeting on.
 * The next line comes when the client has said something, or is silent. It opens, asks what a
 * migration asks, and closes.
 *
 * Whatever comes, each question is answered once, with a result or a reason.
 */
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/loop.h"
#include "qmp/client.h"
#include "qmp/command.h"
#include "tests/fuzz/fuzz.h"

enum { OPEN_NS = 50 * NS_PER_MS, SILENCE_MS = 3 }; /* the stream's end ends all waiting */

static int listener = -1;
static char endpoint_text[64];
static const uint8_t *speech;
static size_t speech_bytes;

static void *speak(void *arg)
{
    (void)arg;
    char heard[4096];
    int fd = accept(listener, NULL, NULL);
    REQUIRE(fd >= 0);
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    for (size_t at = 0, len; at < speech_bytes; at += len) {
        const uint8_t *end = memchr(speech + at, '\n', speech_bytes - at);
        len = end != NULL ? (size_t)(end + 1 - (speech + at)) : speech_bytes - at;
        if (send(fd, speech + at, len, MSG_NOSIGNAL) != (ssize_t)len)
            break;
        if (poll(&poll_fd, 1, SILENCE_MS) > 0 && read(fd, heard, sizeof heard) <= 0)
            break;
    }
    shutdown(fd, SHUT_WR);
    while (read(fd, heard, sizeof heard) > 0)
        ;
    close(fd);
    return NULL;
}

static void remove_socket(void)
{
    unlink(strchr(endpoint_text, ':') + 1);
}

static void listen_once(void)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    if (listener >= 0)
        return;
    snprintf(at.sun_path, sizeof at.sun_path, "/dev/shm/godwit-fuzz-qmp-%d", (int)getpid());
    snprintf(endpoint_text, sizeof endpoint_text, "qmp+unix:%s", at.sun_path);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(listener >= 0 && bind(listener, (struct sockaddr *)&at, sizeof at) == 0);
    REQUIRE(listen(listener, 1) == 0 && atexit(remove_socket) == 0);
}

static void event(void *arg, const char *name, struct json_object *data)
{
    (void)data;
    *(unsigned *)arg += name != NULL;
}

#define ASK(call)                 \
    do {                          \
        struct err e = {0};       \
        bool well = (call) >= 0;  \
        fuzz_check_err(well, &e); \
    } while (0)

static void ask(struct qmp_client *c)
{
    struct qmp_version version;
    struct vm_sample sample = {0};
    struct qmp_parameters parameters;
    qmp_capability_set on, known;
    enum vm_run run;
    char machine[64];
    unsigned n;
    int64_t thread;
    uint64_t bytes;
    ASK(qmp_query_version(c, &version, &e));
    ASK(qmp_query_status(c, &run, &e));
    ASK(qmp_query_migrate(c, &sample, &e));
    ASK(qmp_query_capabilities(c, &on, &known, &e));
    ASK(qmp_query_parameters(c, &parameters, NULL, &e));
    ASK(qmp_query_ram(c, &bytes, &e));
    ASK(qmp_query_vcpus(c, &n, &thread, &e));
    ASK(qmp_query_machine(c, machine, sizeof machine, &e));
    ASK(qmp_query_incoming_port(c, &n, &e));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct qmp_endpoint ep;
    struct err e = {0};
    pthread_t thread;
    unsigned events = 0;
    listen_once();
    speech = data;
    speech_bytes = size;
    REQUIRE(qmp_endpoint_parse(endpoint_text, &ep, &e) == 0);
    struct loop *loop = loop_new(&e);
    REQUIRE(loop != NULL && pthread_create(&thread, NULL, speak, NULL) == 0);
    struct qmp_client *c = qmp_client_open(loop, &ep, OPEN_NS, false, event, &events, &e);
    fuzz_check_err(c != NULL, &e);
    if (c != NULL)
        ask(c);
    qmp_client_close(c);
    loop_free(loop);
    pthread_join(thread, NULL);
    return 0;
}
