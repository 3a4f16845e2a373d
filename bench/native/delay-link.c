// SPDX-License-Identifier: Apache-2.0
// delay-link PID DELAY_MS
// A link on which every packet takes DELAY_MS, as netem makes one, for kernels without netem: from the network namespace
// of the process PID (10.9.0.1) to a new one, this process's own (10.9.0.2), until it is killed. A TUN device on either
// side, and this program between them. Says `ready` when both are up. Packets that find no room are lost, as on any link.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { SLOTS = 1 << 15, LONGEST = 2048 };

struct packet {
  long due;
  ssize_t length;
  char bytes[LONGEST];
};

struct direction {
  int from, to;
  struct packet* packets;
  unsigned head, tail;
};

static void die(const char* what) {
  perror(what);
  exit(2);
}

static long nowUs(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void set(int fd, unsigned long request, struct ifreq* interface, const char* address) {
  struct sockaddr_in* where = (struct sockaddr_in*)&interface->ifr_addr;
  *where = (struct sockaddr_in){.sin_family = AF_INET};
  if (inet_pton(AF_INET, address, &where->sin_addr) != 1 || ioctl(fd, request, interface) < 0) die(address);
}

// Documentation/networking/tuntap.rst, netdevice(7); the device belongs to the namespace of the thread that makes it.
static int device(const char* own, const char* other) {
  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) die("/dev/net/tun");
  struct ifreq interface = {.ifr_flags = IFF_TUN | IFF_NO_PI};
  strcpy(interface.ifr_name, "delay");
  if (ioctl(fd, TUNSETIFF, &interface) < 0) die("TUNSETIFF");
  const int any = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (any < 0) die("socket");
  set(any, SIOCSIFADDR, &interface, own);
  set(any, SIOCSIFDSTADDR, &interface, other);
  interface.ifr_flags = IFF_UP | IFF_RUNNING;
  if (ioctl(any, SIOCSIFFLAGS, &interface) < 0) die("SIOCSIFFLAGS");
  close(any);
  return fd;
}

static void enter(const char* pid) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%ld/ns/net", atol(pid));
  int there = open(path, O_RDONLY | O_CLOEXEC);
  if (there < 0) die(path);
  if (setns(there, CLONE_NEWNET) < 0) die("setns");
  close(there);
}

static void take(struct direction* way, long delay) {
  while (way->head - way->tail < SLOTS) {
    struct packet* packet = &way->packets[way->head % SLOTS];
    packet->length = read(way->from, packet->bytes, LONGEST);
    if (packet->length < 0) {
      // EIO: the device is down yet
      if (errno != EAGAIN && errno != EINTR && errno != EIO) die("read");
      return;
    }
    packet->due = nowUs() + delay;
    way->head++;
  }
}

// Returns how long the next packet has to wait, in microseconds; -1 where there is none.
static long give(struct direction* way) {
  for (; way->tail != way->head; way->tail++) {
    const struct packet* packet = &way->packets[way->tail % SLOTS];
    const long left = packet->due - nowUs();
    if (left > 0) return left;
    if (write(way->to, packet->bytes, (size_t)packet->length) < 0 && errno != EAGAIN && errno != EIO) die("write");
  }
  return -1;
}

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const long delay = atol(argv[2]) * 1000;
  enter(argv[1]);
  const int a = device("10.9.0.1", "10.9.0.2");
  if (unshare(CLONE_NEWNET) < 0) die("unshare");
  const int b = device("10.9.0.2", "10.9.0.1");
  struct direction ways[2] = {{.from = a, .to = b}, {.from = b, .to = a}};
  for (int i = 0; i < 2; i++) {
    ways[i].packets = malloc(sizeof(struct packet) * SLOTS);
    if (ways[i].packets == NULL) die("malloc");
  }
  puts("ready");
  fflush(stdout);
  for (;;) {
    long wait = -1;
    for (int i = 0; i < 2; i++) {
      take(&ways[i], delay);
      const long left = give(&ways[i]);
      if (left >= 0 && (wait < 0 || left < wait)) wait = left;
    }
    struct pollfd ready[2] = {{.fd = a, .events = POLLIN}, {.fd = b, .events = POLLIN}};
    const struct timespec time = {.tv_sec = wait / 1000000, .tv_nsec = wait % 1000000 * 1000};
    if (ppoll(ready, 2, wait < 0 ? NULL : &time, NULL) < 0 && errno != EINTR) die("ppoll");
  }
}
