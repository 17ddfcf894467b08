/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/guest/linux/power.h"

#include <fcntl.h>
#include <linux/input.h>
#include <poll.h>
#include <stdio.h>
#include <sys/reboot.h>
#include <unistd.h>

#include "bench/guest/linux/serial.h"

#define DEVICES_MAX 8

static int open_devices(struct pollfd *devices)
{
    char path[32];
    int n = 0;

    for (int i = 0; i < DEVICES_MAX; i++) {
        snprintf(path, sizeof path, "/dev/input/event%d", i);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0) {
            devices[n++] = (struct pollfd){.fd = fd, .events = POLLIN};
        }
    }
    return n;
}

void *power_run(void *argument)
{
    struct pollfd devices[DEVICES_MAX];
    struct input_event event;
    int n = open_devices(devices);

    (void)argument;
    while (n > 0 && poll(devices, (nfds_t)n, -1) > 0) {
        for (int i = 0; i < n; i++) {
            if (devices[i].revents != 0 &&
                read(devices[i].fd, &event, sizeof event) == sizeof event && event.type == EV_KEY &&
                event.code == KEY_POWER && event.value == 1) {
                serial_sendf("POWER the button was pressed");
                sync();
                reboot(RB_POWER_OFF);
            }
        }
    }
    return NULL;
}
