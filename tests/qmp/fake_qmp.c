/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_qmp.h"

#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "schema_check.h"

#define PATIENCE_MS 5000
enum { HELD_MAX = 16, LINE_MAX_BYTES = 1 << 16 };

struct fake_qmp {
    pthread_t thread;
    struct json_object *schema;
    const struct fake_step *steps;
    size_t count;
    int listener, conn;
    bool bytes;
    char dir[64], path[100], endpoint[128];
    char in[LINE_MAX_BYTES];
    size_t in_len;
    struct {
        int64_t id;
        char command[64];
    } held[HELD_MAX];
    int held_n;
    char fault[512];
};

static bool fault(struct fake_qmp *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static bool fault(struct fake_qmp *f, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(f->fault, sizeof f->fault, fmt, ap);
    va_end(ap);
    return false;
}

static bool fake_ready(struct fake_qmp *f, int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, PATIENCE_MS) == 1 || fault(f, "the client says nothing");
}

/* A client that has hung up in the middle is the test's business. */
static bool fake_send(struct fake_qmp *f, const char *data, size_t len)
{
    size_t step = f->bytes ? 1 : len;
    for (size_t at = 0; at < len;) {
        size_t part = len - at < step ? len - at : step;
        ssize_t n = send(f->conn, data + at, part, MSG_NOSIGNAL);
        if (n <= 0)
            break;
        at += (size_t)n;
    }
    return true;
}

static bool fake_send_object(struct fake_qmp *f, struct json_object *o)
{
    size_t len;
    const char *text = json_object_to_json_string_length(o, JSON_C_TO_STRING_PLAIN, &len);
    bool ok = fake_send(f, text, len) && fake_send(f, "\r\n", 2);
    json_object_put(o);
    return ok;
}

static struct json_object *fake_read(struct fake_qmp *f)
{
    char *newline;
    while ((newline = memchr(f->in, '\n', f->in_len)) == NULL) {
        if (!fake_ready(f, f->conn))
            return NULL;
        ssize_t n = recv(f->conn, f->in + f->in_len, sizeof f->in - f->in_len, 0);
        if (n <= 0) {
            fault(f, "the client has closed the connection");
            return NULL;
        }
        f->in_len += (size_t)n;
    }
    *newline = '\0';
    struct json_object *msg = json_tokener_parse(f->in);
    size_t used = (size_t)(newline - f->in) + 1;
    memmove(f->in, newline + 1, f->in_len - used);
    f->in_len -= used;
    if (msg == NULL)
        fault(f, "the client sent what is no JSON");
    return msg;
}

static bool fake_right_command(struct fake_qmp *f, const struct fake_step *s,
                               struct json_object *msg, struct json_object *args)
{
    char why[256];
    struct json_object *name;
    json_object_object_get_ex(msg, "execute", &name);
    if (name == NULL || strcmp(json_object_get_string(name), s->command) != 0)
        return fault(f, "expected %s, got %s", s->command, json_object_to_json_string(msg));
    if (!schema_check_command(f->schema, s->command, args, why, sizeof why))
        return fault(f, "QEMU would refuse: %s", why);
    if (s->arguments == NULL)
        return true;
    struct json_object *wanted = json_tokener_parse(s->arguments);
    bool same = json_object_equal(wanted, args);
    json_object_put(wanted);
    return same || fault(f, "%s: expected %s, got %s", s->command, s->arguments,
                         json_object_to_json_string(args));
}

/* Reads the command that the step expects; *id is its id. */
static bool fake_expect(struct fake_qmp *f, const struct fake_step *s, int64_t *id)
{
    struct json_object *msg = fake_read(f), *args = NULL, *id_field = NULL;
    if (msg == NULL)
        return false;
    json_object_object_get_ex(msg, "arguments", &args);
    json_object_object_get_ex(msg, "id", &id_field);
    bool ok = fake_right_command(f, s, msg, args);
    *id = json_object_get_int64(id_field);
    json_object_put(msg);
    return ok;
}

static bool fake_answer(struct fake_qmp *f, const char *command, int64_t id, const char *text,
                        bool checked)
{
    char why[256];
    struct json_object *value = json_tokener_parse(text == NULL ? "{}" : text);
    if (checked && !schema_check_return(f->schema, command, value, why, sizeof why)) {
        json_object_put(value);
        return fault(f, "the script answers what no QEMU says: %s", why);
    }
    struct json_object *msg = json_object_new_object();
    json_object_object_add(msg, "return", value);
    json_object_object_add(msg, "id", json_object_new_int64(id));
    return fake_send_object(f, msg);
}

static bool fake_refuse(struct fake_qmp *f, int64_t id, const char *words)
{
    struct json_object *msg = json_object_new_object(), *error = json_object_new_object();
    json_object_object_add(error, "class", json_object_new_string("GenericError"));
    json_object_object_add(error, "desc", json_object_new_string(words));
    json_object_object_add(msg, "id", json_object_new_int64(id));
    json_object_object_add(msg, "error", error);
    return fake_send_object(f, msg);
}

static bool fake_event(struct fake_qmp *f, const struct fake_step *s)
{
    struct json_object *msg =
        json_tokener_parse("{\"timestamp\": {\"seconds\": 1700000000, \"microseconds\": 5}}");
    json_object_object_add(msg, "event", json_object_new_string(s->command));
    if (s->text != NULL)
        json_object_object_add(msg, "data", json_tokener_parse(s->text));
    return fake_send_object(f, msg);
}

static void fake_close(struct fake_qmp *f)
{
    if (f->conn >= 0)
        close(f->conn);
    f->conn = -1;
    f->in_len = 0;
}

static bool fake_accept(struct fake_qmp *f, bool greet)
{
    static const char greeting[] =
        "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 2, \"minor\": 0, \"major\": 10},"
        " \"package\": \"\"}, \"capabilities\": [\"oob\"]}}\r\n";
    const struct fake_step hello = {.what = FAKE_REPLY, .command = "qmp_capabilities"};
    int64_t id;
    fake_close(f);
    if (!fake_ready(f, f->listener))
        return false;
    f->conn = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC); /* no child keeps it open */
    if (f->conn < 0)
        return fault(f, "accept");
    return !greet || (fake_send(f, greeting, sizeof greeting - 1) && fake_expect(f, &hello, &id) &&
                      fake_answer(f, hello.command, id, NULL, true));
}

static void fake_unlisten(struct fake_qmp *f)
{
    if (f->listener < 0)
        return;
    close(f->listener);
    f->listener = -1;
    if (f->path[0] != '\0')
        unlink(f->path);
}

static bool fake_hold(struct fake_qmp *f, const struct fake_step *s)
{
    if (f->held_n == HELD_MAX || !fake_expect(f, s, &f->held[f->held_n].id))
        return false;
    snprintf(f->held[f->held_n++].command, sizeof f->held->command, "%s", s->command);
    return true;
}

static bool fake_expect_end(struct fake_qmp *f)
{
    char more[64];
    if (!fake_ready(f, f->conn))
        return false;
    return recv(f->conn, more, sizeof more, 0) <= 0 || fault(f, "the client goes on");
}

static bool fake_raw(struct fake_qmp *f, const struct fake_step *s)
{
    for (int i = 0; i < (s->n > 0 ? s->n : 1); i++)
        fake_send(f, s->text, strlen(s->text));
    return true;
}

static bool fake_step(struct fake_qmp *f, const struct fake_step *s)
{
    int64_t id;
    switch (s->what) {
    case FAKE_ACCEPT:
    case FAKE_ACCEPT_DUMB: return fake_accept(f, s->what == FAKE_ACCEPT);
    case FAKE_REPLY:
    case FAKE_LOOSE:
        return fake_expect(f, s, &id) &&
               fake_answer(f, s->command, id, s->text, s->what == FAKE_REPLY);
    case FAKE_ERROR: return fake_expect(f, s, &id) && fake_refuse(f, id, s->text);
    case FAKE_HOLD: return fake_hold(f, s);
    case FAKE_ANSWER: return fake_answer(f, f->held[s->n].command, f->held[s->n].id, s->text, true);
    case FAKE_EVENT: return fake_event(f, s);
    case FAKE_RAW: return fake_raw(f, s);
    case FAKE_BYTES: f->bytes = true; return true;
    case FAKE_WAIT: usleep((useconds_t)s->n * 1000); return true;
    case FAKE_CLOSE: fake_close(f); return true;
    case FAKE_EXPECT_END: return fake_expect_end(f);
    case FAKE_UNLISTEN: fake_unlisten(f); return true;
    }
    return fault(f, "a step of no kind");
}

static void *fake_main(void *arg)
{
    struct fake_qmp *f = arg;
    for (size_t i = 0; i < f->count; i++) {
        if (!fake_step(f, &f->steps[i])) {
            size_t len = strlen(f->fault);
            snprintf(f->fault + len, sizeof f->fault - len, " (step %zu, %s)", i,
                     f->steps[i].command != NULL ? f->steps[i].command : "-");
            fake_close(f); /* so that the client does not wait */
            break;
        }
    }
    return NULL;
}

static void fake_listen_unix(struct fake_qmp *f)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    snprintf(f->path, sizeof f->path, "%s/qmp.sock", f->dir);
    snprintf(sa.sun_path, sizeof sa.sun_path, "%s", f->path);
    snprintf(f->endpoint, sizeof f->endpoint, "qmp+unix:%s", f->path);
    f->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(f->listener, (struct sockaddr *)&sa, sizeof sa), 0);
}

static void fake_listen_tcp(struct fake_qmp *f)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof sa;
    f->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(f->listener, (struct sockaddr *)&sa, len), 0);
    assert_int_equal(getsockname(f->listener, (struct sockaddr *)&sa, &len), 0);
    snprintf(f->endpoint, sizeof f->endpoint, "qmp+tcp:127.0.0.1:%d", ntohs(sa.sin_port));
}

struct fake_qmp *fake_qmp_start(const char *version, enum fake_transport transport,
                                const struct fake_step *steps, size_t count)
{
    char file[512];
    struct fake_qmp *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->steps = steps;
    f->count = count;
    f->conn = -1;
    snprintf(file, sizeof file, "%s/schema-%s.json", SCHEMA_DIR, version);
    f->schema = json_object_from_file(file);
    assert_non_null(f->schema);
    strcpy(f->dir, "/tmp/fake-qmp-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    if (transport == FAKE_UNIX)
        fake_listen_unix(f);
    else
        fake_listen_tcp(f);
    assert_int_equal(listen(f->listener, 8), 0);
    assert_int_equal(pthread_create(&f->thread, NULL, fake_main, f), 0);
    return f;
}

const char *fake_qmp_endpoint(const struct fake_qmp *f)
{
    return f->endpoint;
}

const char *fake_qmp_path(const struct fake_qmp *f)
{
    return f->path;
}

void fake_qmp_end_fault(struct fake_qmp *f, char *text, size_t size)
{
    pthread_join(f->thread, NULL);
    snprintf(text, size, "%s", f->fault);
    fake_close(f);
    fake_unlisten(f);
    rmdir(f->dir);
    json_object_put(f->schema);
    free(f);
}

void fake_qmp_end(struct fake_qmp *f)
{
    char text[512];
    fake_qmp_end_fault(f, text, sizeof text);
    if (text[0] != '\0')
        fail_msg("the script was not followed: %s", text);
}
