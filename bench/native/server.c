// SPDX-License-Identifier: Apache-2.0
// server PORT PROCESSES byte|http|told
// The other end of connections, as cheap as can be. `byte` answers the first bytes of a connection with one byte, `http` a
// request without a body with a fixed answer, and both close first. `told` keeps connections: it closes one that says `q`
// and resets one that says `r`; else the client closes first. What is open is why there are PROCESSES: each has a listener
// in a SO_REUSEPORT group, all are open before the first accepts.
#define _GNU_SOURCE // accept4(2)
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 256, BACKLOG = 4096, MOST_PROCESSES = 64, MOST = 1 << 20 };

static const char HTTP[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
/** What a request without a body ends with. */
static const char END[] = "\r\n\r\n";

static int epoll;
static int http;
static int told;
/** How much of END a connection has just said. */
static unsigned char said[MOST];

static void die(const char* what) {
  perror(what);
  exit(2);
}

static int listener(int port) {
  const struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons((unsigned short)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  const int on = 1;
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) die("socket");
  if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0) die("SO_REUSEADDR");
  if (setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) < 0) die("SO_REUSEPORT");
  if (bind(fd, (const struct sockaddr*)&address, sizeof address) < 0) die("bind");
  if (listen(fd, BACKLOG) < 0) die("listen");
  return fd;
}

static void watch(int fd) {
  struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0) die("epoll_ctl");
}

static void take(int listening) {
  for (;;) {
    const int fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0 && (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR)) return;
    // out of descriptors: the plan was wrong
    if (fd < 0 || fd >= MOST) die("accept4");
    said[fd] = 0;
    watch(fd);
  }
}

/** Whether the request is complete. */
static int complete(int fd, const char* text, ssize_t length) {
  for (ssize_t i = 0; i < length; i++) {
    if (text[i] == END[said[fd]]) {
      if (END[++said[fd]] == 0) return 1;
    } else {
      said[fd] = text[i] == END[0];
    }
  }
  return 0;
}

static void answer(int fd) {
  char buffer[8192];
  const ssize_t length = read(fd, buffer, sizeof buffer);
  if (length < 0 && errno == EAGAIN) return;
  if (length > 0 && http && !complete(fd, buffer, length)) return;
  // a client that has gone meanwhile knows by itself
  if (length > 0) (void)!write(fd, http ? HTTP : "x", http ? sizeof HTTP - 1 : 1);
  close(fd);
}

static void obey(int fd) {
  char word;
  const ssize_t length = read(fd, &word, 1);
  if (length < 0 && errno == EAGAIN) return;
  if (length > 0 && word == 'r') {
    // socket(7): close() sends a RST
    const struct linger now = {.l_onoff = 1, .l_linger = 0};
    if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now) < 0) die("SO_LINGER");
  }
  close(fd);
}

static void serve(int listening) {
  struct epoll_event events[EVENTS];
  epoll = epoll_create1(EPOLL_CLOEXEC);
  if (epoll < 0) die("epoll_create1");
  watch(listening);
  for (;;) {
    const int count = epoll_wait(epoll, events, EVENTS, -1);
    for (int i = 0; i < count; i++) {
      if (events[i].data.fd == listening) take(listening);
      else if (told) obey(events[i].data.fd);
      else answer(events[i].data.fd);
    }
  }
}

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const int processes = atoi(argv[2]);
  if (processes < 1 || processes > MOST_PROCESSES) return 2;
  http = strcmp(argv[3], "http") == 0;
  told = strcmp(argv[3], "told") == 0;
  signal(SIGPIPE, SIG_IGN);
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0) die("getrlimit");
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) < 0) die("setrlimit");
  int listening[MOST_PROCESSES];
  for (int i = 0; i < processes; i++) listening[i] = listener(atoi(argv[1]));
  int own = 0;
  for (int i = 1; i < processes && own == 0; i++) {
    const pid_t child = fork();
    if (child < 0) die("fork");
    if (child > 0) continue;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    own = i;
  }
  for (int i = 0; i < processes; i++)
    if (i != own) close(listening[i]);
  serve(listening[own]);
}
