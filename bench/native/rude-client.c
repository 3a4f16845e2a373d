// SPDX-License-Identifier: Apache-2.0
// rude-client PORT CLIENTS COUNT MODE [HOST]
// COUNT connections, CLIENTS at a time, none of which is a proper request. MODE: `reset` resets at once or after half a
// request, `half-close` ends its side before, within or after a request and waits for the server's end, `silent` says
// nothing and leaves after a while, `garbage` sends bytes that are no HTTP and waits for the server's end, `mixed` takes
// turns. Prints how many connections there were and how many of them failed, as JSON: the server had not ended those
// within five seconds.
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

enum { MOST = 65536, EVENTS = 256, PATIENCE_MS = 5000, SILENCE_MS = 20 };
enum mode { RESET, HALF_CLOSE, SILENT, GARBAGE, MODES };

static const char* const NAMES[] = {"reset", "half-close", "silent", "garbage"};
static const char REQUEST[] = "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
static struct sockaddr_in server = {.sin_family = AF_INET};
static int epoll, chosen;
static long begun, ended, hung, wanted;
static struct client {
  enum mode mode;
  // When the client stops waiting, in ms; 0: no such connection.
  long until;
} clients[MOST];

static long now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void die(const char* what) {
  perror(what);
  exit(2);
}

static void begin(void) {
  if (begun == wanted) return;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (fd < 0 || fd >= MOST) die("socket");
  clients[fd] = (struct client){chosen == MODES ? (enum mode)(begun % MODES) : (enum mode)chosen, now() + PATIENCE_MS};
  begun++;
  if (connect(fd, (struct sockaddr*)&server, sizeof server) < 0 && errno != EINPROGRESS) die("connect");
  struct epoll_event event = {.events = EPOLLOUT, .data.fd = fd};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0) die("epoll_ctl");
}

static void leave(int fd, int reset) {
  struct linger now_ = {.l_onoff = 1, .l_linger = 0};
  if (reset) setsockopt(fd, SOL_SOCKET, SO_LINGER, &now_, sizeof now_);
  clients[fd].until = 0;
  close(fd);
  ended++;
  begin();
}

static void say(int fd, const char* text, size_t length) {
  // a server that has ended the connection already is no failure here
  if (length > 0 && send(fd, text, length, MSG_NOSIGNAL) < 0 && errno != EPIPE && errno != ECONNRESET) die("send");
}

static void connected(int fd) {
  char noise[200];
  struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
  switch (clients[fd].mode) {
    case RESET:
      say(fd, REQUEST, rand() % 2 ? 0 : sizeof REQUEST / 2);
      return leave(fd, 1);
    case HALF_CLOSE:
      say(fd, REQUEST, (size_t[]){0, sizeof REQUEST / 2, sizeof REQUEST - 1}[rand() % 3]);
      shutdown(fd, SHUT_WR);
      break;
    case GARBAGE:
      for (size_t i = 0; i < sizeof noise; i++) noise[i] = (char)rand();
      say(fd, noise, sizeof noise);
      // no server waits for the end of what it cannot read, but one may wait for more of what it might yet be able to
      shutdown(fd, SHUT_WR);
      break;
    default:
      clients[fd].until = now() + SILENCE_MS;
  }
  if (epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event) < 0) die("epoll_ctl");
}

static void drain(int fd) {
  char buffer[4096];
  ssize_t n;
  while ((n = read(fd, buffer, sizeof buffer)) > 0);
  if (n < 0 && errno == EAGAIN) return;
  leave(fd, 0);
}

static void impatient(void) {
  const long time = now();
  for (int fd = 0; fd < MOST; fd++) {
    if (clients[fd].until == 0 || clients[fd].until > time) continue;
    if (clients[fd].mode != SILENT) hung++;
    leave(fd, 0);
  }
}

int main(int argc, char** argv) {
  if (argc < 5) return 2;
  server.sin_port = htons((unsigned short)atoi(argv[1]));
  if (inet_pton(AF_INET, argc > 5 ? argv[5] : "127.0.0.1", &server.sin_addr) != 1) return 2;
  wanted = atol(argv[3]);
  for (chosen = 0; chosen < MODES && strcmp(argv[4], NAMES[chosen]) != 0; chosen++);
  if (chosen == MODES && strcmp(argv[4], "mixed") != 0) return 2;
  epoll = epoll_create1(0);
  if (epoll < 0) die("epoll_create1");
  for (int i = atoi(argv[2]); i > 0; i--) begin();
  for (long looked = now(); ended < wanted;) {
    struct epoll_event events[EVENTS];
    int count = epoll_wait(epoll, events, EVENTS, 10);
    for (int i = 0; i < count; i++) {
      if (events[i].events & EPOLLOUT)
        connected(events[i].data.fd);
      else
        drain(events[i].data.fd);
    }
    if (now() - looked < 10) continue;
    impatient();
    looked = now();
  }
  printf("{\"answered\":%ld,\"failed\":%ld}\n", ended - hung, hung);
  return 0;
}
