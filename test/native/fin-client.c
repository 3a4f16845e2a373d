// SPDX-License-Identifier: Apache-2.0
// fin-client PORT CLIENTS SECONDS [HOST]
// Clients in a closed loop, a connection for each request, that wait for the server's FIN: the server closes first, as a
// server does that answers "Connection: close". Prints how the connections ended, as JSON.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 65536, EVENTS = 256 };

static const char REQUEST[] = "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
static struct sockaddr_in server = {.sin_family = AF_INET};
static int epoll;
static size_t received[MOST];
static long answered, reset, broken;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void watch(int operation, int fd, unsigned events) {
  struct epoll_event event = {.events = events, .data.fd = fd};
  if (epoll_ctl(epoll, operation, fd, &event) == 0) return;
  perror("epoll_ctl");
  exit(2);
}

static void begin(void) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (fd < 0 || fd >= MOST) {
    perror("socket");
    exit(2);
  }
  received[fd] = 0;
  if (connect(fd, (struct sockaddr*)&server, sizeof server) < 0 && errno != EINPROGRESS) {
    perror("connect");
    exit(2);
  }
  watch(EPOLL_CTL_ADD, fd, EPOLLOUT);
}

static void end(int fd, long* how) {
  ++*how;
  close(fd);
  begin();
}

static void go(int fd, unsigned events) {
  char buffer[4096];
  if (events & EPOLLOUT) {
    if (write(fd, REQUEST, sizeof REQUEST - 1) != (ssize_t)sizeof REQUEST - 1) return end(fd, &reset);
    return watch(EPOLL_CTL_MOD, fd, EPOLLIN);
  }
  for (;;) {
    ssize_t n = read(fd, buffer, sizeof buffer);
    if (n > 0) {
      received[fd] += (size_t)n;
      continue;
    }
    if (n < 0 && errno == EAGAIN) return;
    return end(fd, n < 0 ? &reset : received[fd] > 0 ? &answered : &broken);
  }
}

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  server.sin_port = htons((unsigned short)atoi(argv[1]));
  if (inet_pton(AF_INET, argc > 4 ? argv[4] : "127.0.0.1", &server.sin_addr) != 1) return 2;
  epoll = epoll_create1(0);
  if (epoll < 0) return 2;
  for (int i = atoi(argv[2]); i > 0; i--) begin();
  const double start = now(), seconds = atof(argv[3]);
  while (now() - start < seconds) {
    struct epoll_event events[EVENTS];
    int count = epoll_wait(epoll, events, EVENTS, 100);
    for (int i = 0; i < count; i++) go(events[i].data.fd, events[i].events);
  }
  printf("{\"answered\":%ld,\"reset\":%ld,\"broken\":%ld,\"seconds\":%.3f}\n", answered, reset, broken, now() - start);
  return 0;
}
