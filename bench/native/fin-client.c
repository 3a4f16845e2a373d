// SPDX-License-Identifier: Apache-2.0
// fin-client PORT CLIENTS SECONDS [HOST [RATE]]
// Short connections, a request each, that wait for the server's FIN: the server closes first, as a server does that
// answers "Connection: close". Without RATE, CLIENTS of them in a closed loop. With RATE, an open loop: so many a second
// begin, by chance (exponential intervals, the same sequence in every run), whatever has become of the earlier ones, at
// most CLIENTS at a time. Prints how the connections ended, and the CPU time that this program has used, as JSON; with
// RATE also microseconds from connect() to the first byte of the answer and to the FIN, and by how much it was late.
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 65536, EVENTS = 256, ENOUGH = 1 << 20 };
/** For the answers that are under way at the end, in seconds: a client that closed first would change what is measured. */
static const double PATIENCE = 3;

static const char REQUEST[] = "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
static const char ANSWER[] = "HTTP/1.1 200";
enum { LEAST = sizeof ANSWER - 1 };
static struct sockaddr_in server = {.sin_family = AF_INET};
static int epoll;
static double rate;
static int repeating;
static size_t received[MOST];
static double begun[MOST];
static long answered, reset, broken, open_now;

/** Microseconds; what is beyond ENOUGH is not looked at. */
struct samples {
  size_t count;
  float us[ENOUGH];
};
static struct samples first_byte, fin, late;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static long cpu_us(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const long seconds = usage.ru_utime.tv_sec + usage.ru_stime.tv_sec;
  return seconds * 1000000 + usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
}

static void add(struct samples* to, double seconds) {
  if (to->count < ENOUGH) to->us[to->count++] = (float)(seconds * 1e6);
}

static int ascending(const void* a, const void* b) {
  float x = *(const float*)a, y = *(const float*)b;
  return (x > y) - (x < y);
}

static void print_percentiles(const char* name, struct samples* of) {
  qsort(of->us, of->count, sizeof of->us[0], ascending);
  printf(",\"%s\":", name);
  if (of->count == 0) {
    printf("null");
    return;
  }
  const size_t last = of->count - 1;
  printf("{\"p50\":%.1f,\"p99\":%.1f,\"max\":%.1f}", of->us[last / 2], of->us[last * 99 / 100], of->us[last]);
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
  if (rate > 0) begun[fd] = now();
  if (connect(fd, (struct sockaddr*)&server, sizeof server) < 0 && errno != EINPROGRESS) {
    perror("connect");
    exit(2);
  }
  open_now++;
  watch(EPOLL_CTL_ADD, fd, EPOLLOUT);
}

static void end(int fd, long* how) {
  ++*how;
  open_now--;
  close(fd);
  if (repeating) begin();
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
      if (received[fd] == 0 && (n < LEAST || memcmp(buffer, ANSWER, LEAST) != 0)) return end(fd, &broken);
      if (rate > 0 && received[fd] == 0) add(&first_byte, now() - begun[fd]);
      received[fd] += (size_t)n;
      continue;
    }
    if (n < 0 && errno == EAGAIN) return;
    if (rate > 0 && n == 0 && received[fd] > 0) add(&fin, now() - begun[fd]);
    return end(fd, n < 0 ? &reset : received[fd] > 0 ? &answered : &broken);
  }
}

static void turn(void) {
  struct epoll_event events[EVENTS];
  int count = epoll_wait(epoll, events, EVENTS, 100);
  for (int i = 0; i < count; i++)
    if (events[i].data.fd >= 0) go(events[i].data.fd, events[i].events);
}

static void closed_loop(int clients, double until) {
  repeating = 1;
  while (clients-- > 0) begin();
  while (now() < until) turn();
  repeating = 0;
}

/** Seconds to the next arrival of a Poisson process (drand48 begins alike in every run). */
static double interval(void) { return -log(1 - drand48()) / rate; }

/** A timer wakes epoll_wait() at the next arrival: its own timeout has milliseconds only. */
static void open_loop(int clients, double until) {
  int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
  struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.fd = -1};
  if (timer < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &event) < 0) {
    perror("timer");
    exit(2);
  }
  for (double next = now() + interval(); next < until;) {
    double time = now();
    for (; next <= time && next < until; next += interval(), time = now()) {
      add(&late, time - next);
      if (open_now < clients) begin();
      else broken++;
    }
    const double whole = floor(next);
    const struct itimerspec at = {.it_value = {(time_t)whole, (long)((next - whole) * 1e9)}};
    timerfd_settime(timer, TFD_TIMER_ABSTIME, &at, NULL);
    turn();
  }
}

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  server.sin_port = htons((unsigned short)atoi(argv[1]));
  if (inet_pton(AF_INET, argc > 4 ? argv[4] : "127.0.0.1", &server.sin_addr) != 1) return 2;
  rate = argc > 5 ? atof(argv[5]) : 0;
  epoll = epoll_create1(0);
  if (epoll < 0) return 2;
  const double start = now(), until = start + atof(argv[3]);
  (rate > 0 ? open_loop : closed_loop)(atoi(argv[2]), until);
  while (open_now > 0 && now() < until + PATIENCE) turn();
  const double end = now();
  // they hang
  broken += open_now;
  printf("{\"answered\":%ld,\"reset\":%ld,\"broken\":%ld,\"seconds\":%.3f", answered, reset, broken, end - start);
  printf(",\"cpuUs\":%ld", cpu_us());
  if (rate > 0) {
    print_percentiles("answerUs", &first_byte);
    print_percentiles("finUs", &fin);
    print_percentiles("lateUs", &late);
  }
  printf("}\n");
  return 0;
}
