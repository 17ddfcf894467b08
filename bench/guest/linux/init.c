/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * init of the Linux guest: a heartbeat on the serial port, a dirtied working set, records on
 * the disk, and an address that answers ping.
 *
 * Theory of operation. main() prepares the guest in one thread (mounts, modules, network),
 * sends the banner and starts four threads, which share nothing but two counters:
 *   beat   real-time priority, so that the load cannot delay it: sends the heartbeat;
 *   load   visits the working set in slices of a millisecond (workset.h);
 *   disk   writes records (disk.c);
 *   power  waits for the power button (power.c).
 * What fails becomes an ERROR line and is left out; the heartbeat goes on whatever happens. main()
 * then does what is left to process 1: reap, reboot on Ctrl-Alt-Del, and keep a shell on
 * the second serial port if the machine has one.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/serial.h>
#include <net/if.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/guest/heartbeat.h"
#include "bench/guest/linux/disk.h"
#include "bench/guest/linux/params.h"
#include "bench/guest/linux/power.h"
#include "bench/guest/linux/serial.h"
#include "bench/guest/linux/ticker.h"
#include "bench/guest/workset.h"

#define MODULES_ORDER "/modules/order" /* one path a line, written by build.sh */
#define SHELL_PORT "/dev/ttyS1"
#define LOAD_SLICE_NS 1000000u
/* What the kernel and we need ourselves beside the working set. */
#define MEMORY_RESERVE_BYTES ((uint64_t)16 << 20)
#define KLOG_CONSOLE_LEVEL 8

static struct {
    struct params params;
    struct disk disk;
    bool has_disk;
    struct workset workset; /* the load thread's */
    _Atomic uint32_t work;  /* its counter, for the beat */
} guest;

static void mount_or_tell(const char *type, const char *path)
{
    mkdir(path, 0755);
    /* EBUSY: the kernel has mounted devtmpfs already. */
    if (mount(type, path, type, 0, NULL) && errno != EBUSY) {
        serial_sendf("ERROR mount %s: %s", path, strerror(errno));
    }
}

static void load_module(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST)) {
        serial_sendf("ERROR module %s: %s", path, strerror(errno));
    }
    if (fd >= 0) {
        close(fd);
    }
}

static void load_modules(void)
{
    char path[256];
    FILE *order = fopen(MODULES_ORDER, "re");

    if (!order) {
        serial_sendf("ERROR " MODULES_ORDER ": %s", strerror(errno));
        return;
    }
    while (fgets(path, sizeof(path), order)) {
        path[strcspn(path, "\n")] = '\0';
        load_module(path);
    }
    fclose(order);
}

static int interface_up(int fd, const char *name)
{
    struct ifreq request = {0};

    strncpy(request.ifr_name, name, sizeof(request.ifr_name) - 1);
    if (ioctl(fd, SIOCGIFFLAGS, &request)) {
        return -1;
    }
    request.ifr_flags |= IFF_UP | IFF_RUNNING;
    return ioctl(fd, SIOCSIFFLAGS, &request);
}

static int interface_set(int fd, const char *name, unsigned long what, struct in_addr address)
{
    struct sockaddr_in socket_address = {.sin_family = AF_INET, .sin_addr = address};
    struct ifreq request = {0};

    strncpy(request.ifr_name, name, sizeof(request.ifr_name) - 1);
    memcpy(&request.ifr_addr, &socket_address, sizeof(socket_address));
    return ioctl(fd, what, &request);
}

static void start_network(const struct params *params)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || interface_up(fd, "lo")) {
        serial_sendf("ERROR lo: %s", strerror(errno));
    }
    if (fd >= 0 && params->has_ip &&
        (interface_set(fd, "eth0", SIOCSIFADDR, params->ip) ||
         interface_set(fd, "eth0", SIOCSIFNETMASK, params->netmask) || interface_up(fd, "eth0"))) {
        serial_sendf("ERROR eth0: %s", strerror(errno));
    }
    if (fd >= 0) {
        close(fd);
    }
}

static void read_params(void)
{
    char cmdline[4096] = "";
    char bad[128];
    int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);

    if (fd >= 0) {
        ssize_t length = read(fd, cmdline, sizeof(cmdline) - 1);

        cmdline[length > 0 ? length : 0] = '\0';
        close(fd);
    }
    if (params_parse(&guest.params, cmdline, bad, sizeof(bad))) {
        serial_sendf("ERROR kernel command line: %s", bad);
    }
}

static void *beat_run(void *argument)
{
    struct ticker ticker = ticker_start((uint64_t)guest.params.period_us * 1000);
    uint32_t seq = 0;

    (void)argument;
    for (;;) {
        char line[HEARTBEAT_LINE_MAX];
        uint32_t record = atomic_load(&guest.disk.last_seq);

        ticker_wait(&ticker);
        serial_send(line, heartbeat_format(line, seq++, atomic_load(&guest.work), &record));
        if (seq % HEARTBEAT_CLOCK_EACH == 0) {
            uint64_t us = ticker_clock_ns(CLOCK_REALTIME) / 1000;

            serial_sendf("CLOCK %08" PRIx32 " %08" PRIx32, (uint32_t)(us >> 32), (uint32_t)us);
        }
    }
    return NULL;
}

static void *load_run(void *argument)
{
    struct workset *ws = &guest.workset;
    struct pacer pacer;
    struct ticker ticker;
    uint32_t reported = 0;

    (void)argument;
    while (!workset_is_filled(ws)) {
        workset_visit(ws);
    }
    ticker = ticker_start(LOAD_SLICE_NS);
    pacer_start(&pacer, guest.params.dirty_rate_bytes_per_s, ticker_clock_ns(CLOCK_MONOTONIC));
    for (;;) {
        pacer_advance(&pacer, ticker_wait(&ticker));
        while (pacer_take(&pacer)) {
            workset_visit(ws);
        }
        atomic_store(&guest.work, ws->work);
        /* Only the last one of a slice: a reader of beats must not drown. */
        if (reported != ws->corrupt) {
            reported = ws->corrupt;
            serial_sendf("CORRUPT page=%08" PRIx32 " want=%08" PRIx32 " got=%08" PRIx32
                         " total=%08" PRIx32,
                         ws->last_corrupt.page, ws->last_corrupt.want, ws->last_corrupt.got,
                         ws->corrupt);
        }
    }
    return NULL;
}

/* False, and reported, if there is no memory for the working set. */
static bool prepare_workset(void)
{
    size_t bytes = guest.params.working_set_bytes;
    struct sysinfo memory;
    void *words;

    if (bytes == 0) {
        return false;
    }
    if (sysinfo(&memory) ||
        bytes + MEMORY_RESERVE_BYTES > (uint64_t)memory.freeram * memory.mem_unit) {
        serial_sendf("ERROR the working set does not fit in memory");
        return false;
    }
    words = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (words == MAP_FAILED || mlock(words, bytes)) {
        serial_sendf("ERROR working set: %s", strerror(errno));
        return false;
    }
    workset_start(&guest.workset, words, (uint32_t)(bytes / WORKSET_PAGE_BYTES));
    return true;
}

static void start_thread(void *(*run)(void *), void *argument, int real_time_priority)
{
    struct sched_param schedule = {.sched_priority = real_time_priority};
    pthread_t thread;
    int error = pthread_create(&thread, NULL, run, argument);

    if (!error && real_time_priority) {
        error = pthread_setschedparam(thread, SCHED_FIFO, &schedule);
    }
    if (error) {
        serial_sendf("ERROR thread: %s", strerror(error));
    }
}

static bool has_shell_port(void)
{
    struct serial_struct port = {0};
    int fd = open(SHELL_PORT, O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    bool found = fd >= 0 && ioctl(fd, TIOCGSERIAL, &port) == 0 && port.type != PORT_UNKNOWN;

    if (fd >= 0) {
        close(fd);
    }
    return found;
}

static pid_t start_shell(void)
{
    pid_t pid = fork();
    int fd;

    if (pid != 0) {
        return pid;
    }
    setsid();
    fd = open(SHELL_PORT, O_RDWR);
    if (fd >= 0 && dup2(fd, 0) == 0 && dup2(fd, 1) == 1 && dup2(fd, 2) == 2) {
        ioctl(0, TIOCSCTTY, 0);
        execl("/bin/busybox", "sh", "-i", (char *)NULL);
    }
    _exit(127);
}

static void on_ctrl_alt_del(int signal_number)
{
    (void)signal_number;
    reboot(RB_AUTOBOOT); /* NOLINT(bugprone-signal-handler): a bare system call */
}

static _Noreturn void be_process_1(void)
{
    bool want_shell = has_shell_port();
    pid_t shell = want_shell ? start_shell() : -1;

    for (;;) {
        pid_t ended = waitpid(-1, NULL, 0);

        if (want_shell && (ended == shell || shell < 0)) {
            sleep(1);
            shell = start_shell();
        } else if (ended < 0) {
            pause();
        }
    }
}

int main(void)
{
    mkdir("/dev", 0755);
    /* Before anything is reported: /dev has no ttyS0 without it. */
    if (mount("devtmpfs", "/dev", "devtmpfs", 0, NULL) && errno != EBUSY) {
        return 1;
    }
    if (serial_open()) {
        return 1;
    }
    klogctl(KLOG_CONSOLE_LEVEL, NULL, 1);
    mount_or_tell("proc", "/proc");
    mount_or_tell("sysfs", "/sys");
    reboot(RB_DISABLE_CAD);
    signal(SIGINT, on_ctrl_alt_del);
    read_params();
    load_modules();
    start_network(&guest.params);
    guest.has_disk = disk_is_there();
    guest.disk.records_per_s = guest.params.records_per_s;
    serial_sendf("GODWIT-GUEST linux %d period_us=%" PRIu32 " working_set=%" PRIu64 " rate=%" PRIu32
                 " records_per_s=%" PRIu32 " disk=%s",
                 HEARTBEAT_FORMAT_VERSION, guest.params.period_us, guest.params.working_set_bytes,
                 guest.params.dirty_rate_bytes_per_s, guest.params.records_per_s,
                 guest.has_disk ? "vda" : "none");
    start_thread(beat_run, NULL, 50);
    if (prepare_workset()) {
        start_thread(load_run, NULL, 0);
    }
    if (guest.has_disk && guest.params.records_per_s > 0) {
        start_thread(disk_run, &guest.disk, 0);
    }
    start_thread(power_run, NULL, 0);
    be_process_1();
}
