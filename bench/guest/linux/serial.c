/*
 * SPDX-License-Identifier: Apache-2.0
 */
#include "bench/guest/linux/serial.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define SERIAL_LINE_MAX 256

static struct {
    /* Inherits priority: else a preempted sender of low priority would hold up the beat. */
    pthread_mutex_t lock;
    int fd;
    bool line_truncated;
} serial = {.fd = -1};

int serial_open(void)
{
    pthread_mutexattr_t attributes;
    struct termios termios;

    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
    pthread_mutex_init(&serial.lock, &attributes);
    serial.fd = open("/dev/ttyS0", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (serial.fd < 0 || tcgetattr(serial.fd, &termios)) {
        return -1;
    }
    cfmakeraw(&termios);
    termios.c_cflag |= CLOCAL;
    cfsetspeed(&termios, B115200);
    return tcsetattr(serial.fd, TCSANOW, &termios);
}

void serial_send(const char *line, size_t length)
{
    ssize_t sent = -1;

    pthread_mutex_lock(&serial.lock);
    if (serial.line_truncated && write(serial.fd, "\n", 1) == 1) {
        serial.line_truncated = false;
    }
    if (!serial.line_truncated) {
        sent = write(serial.fd, line, length);
        serial.line_truncated = sent > 0 && (size_t)sent < length;
    }
    pthread_mutex_unlock(&serial.lock);
}

void serial_sendf(const char *format, ...)
{
    char line[SERIAL_LINE_MAX];
    va_list args;
    int length;

    va_start(args, format);
    length = vsnprintf(line, sizeof(line) - 1, format, args);
    va_end(args);
    if (length < 0) {
        return;
    }
    if (length > (int)sizeof(line) - 2) {
        length = (int)sizeof(line) - 2;
    }
    line[length++] = '\n';
    serial_send(line, (size_t)length);
}
