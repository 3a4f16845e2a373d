// SPDX-License-Identifier: Apache-2.0
// half-open PORT COUNT
// Begins COUNT connections to 127.0.0.1:PORT whose SYN-ACK does not arrive (a filter on the client's own socket drops
// it), says "half-open", and lets it through after a line on stdin: a network with a long round trip. Each then asks
// once over HTTP. Prints how they ended, as JSON.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 512, PATIENCE_MS = 10000, SETTLED_MS = 100 };

static const char REQUEST[] = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

static struct pollfd clients[MOST];
static int connected[MOST], bytes[MOST];
static int answered, reset;

static void must(int result, const char* what) {
  if (result >= 0) return;
  perror(what);
  exit(2);
}

static long nowMs(void) {
  struct timespec now;
  must(clock_gettime(CLOCK_MONOTONIC, &now), "clock_gettime");
  return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void begin(int i, int port) {
  struct sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
  struct sock_fprog program = {1, &nothing};
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  must(fd, "socket");
  must(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program), "SO_ATTACH_FILTER");
  if (connect(fd, (struct sockaddr*)&to, sizeof to) == 0 || errno != EINPROGRESS) must(-1, "connect");
  clients[i] = (struct pollfd){fd, POLLOUT, 0};
}

// Returns 1 when the connection has ended.
static int serve(int i) {
  struct pollfd* client = &clients[i];
  char buffer[4096];
  if (!connected[i]) {
    int error = 0;
    socklen_t length = sizeof error;
    must(getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &length), "SO_ERROR");
    if (error != 0 || write(client->fd, REQUEST, sizeof REQUEST - 1) < 0) return reset++, 1;
    connected[i] = 1;
    client->events = POLLIN;
    return 0;
  }
  ssize_t n = read(client->fd, buffer, sizeof buffer);
  if (n < 0 && errno == EAGAIN) return 0;
  if (n > 0) return bytes[i] += (int)n, 0;
  if (n == 0 && bytes[i] > 0)
    answered++;
  else
    reset++;
  return 1;
}

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const int port = atoi(argv[1]), count = atoi(argv[2]);
  if (count < 1 || count > MOST) return 2;
  for (int i = 0; i < count; i++) begin(i, port);
  usleep(SETTLED_MS * 1000);
  puts("half-open");
  fflush(stdout);
  if (getchar() == EOF) return 2;
  for (int i = 0; i < count; i++) {
    int none = 0;
    must(setsockopt(clients[i].fd, SOL_SOCKET, SO_DETACH_FILTER, &none, sizeof none), "SO_DETACH_FILTER");
  }
  int open = count;
  const long end = nowMs() + PATIENCE_MS;
  while (open > 0 && nowMs() < end) {
    must(poll(clients, (nfds_t)count, 50), "poll");
    for (int i = 0; i < count; i++) {
      if (clients[i].fd < 0 || clients[i].revents == 0 || !serve(i)) continue;
      close(clients[i].fd);
      clients[i].fd = -1;
      open--;
    }
  }
  
  printf("{\"answered\":%d,\"reset\":%d,\"hung\":%d}\n", answered, reset, open);
  return 0;
}
