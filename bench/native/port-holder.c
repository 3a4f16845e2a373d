// SPDX-License-Identifier: Apache-2.0
// port-holder PORT LOW HIGH FIRST COUNT established|time-wait
// Takes COUNT source ports of LOW-HIGH towards 127.0.0.1:PORT, from the FIRST one on in the order in which the kernel gives
// them to a connect(): all of LOW's parity first, then the others (net/ipv4/inet_hashtables.c, __inet_hash_connect).
// Each port is named by IP_LOCAL_PORT_RANGE [p, p] (ip(7)), which leaves the same traces as the kernel's own choice, and
// takes a constant time. `established`: keeps the connections until it is killed. `time-wait`: closes each, first and in good
// order, so that the port rests for a minute, and ends. Says `held` when all are there.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef IP_LOCAL_PORT_RANGE
// linux/in.h since 6.3
#define IP_LOCAL_PORT_RANGE 51
#endif

static void die(const char* what, int port) {
  fprintf(stderr, "%s, port %d: %s\n", what, port, strerror(errno));
  exit(2);
}

static int port_at(int index, int low, int high) {
  const int first = (high - low) / 2 + 1;
  return index < first ? low + 2 * index : low + 1 + 2 * (index - first);
}

static int take(const struct sockaddr_in* server, int port) {
  const unsigned range = (unsigned)port << 16 | (unsigned)port;
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) die("socket", port);
  if (setsockopt(fd, IPPROTO_IP, IP_LOCAL_PORT_RANGE, &range, sizeof range) < 0) die("IP_LOCAL_PORT_RANGE", port);
  if (connect(fd, (const struct sockaddr*)server, sizeof *server) < 0) die("connect", port);
  return fd;
}

/** Some are reset all the same (Linux 6.18: 10 of 20,000; without waiting for the FIN 10 of 250), and free at once. */
static void close_first(int fd, int port) {
  char byte;
  if (shutdown(fd, SHUT_WR) < 0) die("shutdown", port);
  if (read(fd, &byte, 1) != 0) die("read", port);
  close(fd);
}

int main(int argc, char** argv) {
  if (argc != 7) return 2;
  const int low = atoi(argv[2]), high = atoi(argv[3]), first = atoi(argv[4]), count = atoi(argv[5]);
  const int stays = strcmp(argv[6], "established") == 0;
  const struct sockaddr_in server = {.sin_family = AF_INET,
                                     .sin_port = htons((unsigned short)atoi(argv[1])),
                                     .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
  for (int i = first; i < first + count; i++) {
    const int port = port_at(i, low, high);
    const int fd = take(&server, port);
    if (!stays) close_first(fd, port);
  }
  puts("held");
  fflush(stdout);
  while (stays) pause();
  return 0;
}
