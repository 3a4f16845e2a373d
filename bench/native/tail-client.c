// SPDX-License-Identifier: Apache-2.0
// tail-client PORT SHAPE RATE SECONDS CONNECTIONS SLOW_RATE BLOCK_MS
// tail-client quantiles NUMBER...
// An open loop: RATE requests a second and SLOW_RATE that block their worker for BLOCK_MS are sent at evenly spaced
// times that are fixed beforehand, whatever has become of the earlier ones. A latency is the time from the moment at
// which a request was to be sent to the server's FIN (SHAPE short: a connection each; handlers: and each computes for
// BLOCK_MS) or to the end of the answer (SHAPE kept: CONNECTIONS of them in turn; one that still waits sends when it
// has its answer, and what that took counts). Slow requests have connections of their own: all figures are of others.
// Prints counts, quantiles in microseconds, which workers have answered, and by how much this program was late, as
// JSON. `quantiles` prints those of its arguments.
#define _GNU_SOURCE  // strcasestr(3)
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

/** Few EVENTS: what is due is looked at in between, and after a block all answers come at once. */
enum { MOST = 65536, ANSWER = 512, MOST_WORKERS = 256, EVENTS = 16, BLOCKS = 4 };
static const int64_t SECOND = 1000000000;
/** Before the first request: lasting connections are made in it. */
static const int64_t LEAD = 200000000;
/** For answers that are under way at the end; besides, BLOCKS one after the other. */
static const int64_t PATIENCE = 5000000000;

enum kind { SHORT, KEPT, SLOW };
enum state { CLOSED, CONNECTING, IDLE, WAITING };

struct connection {
  enum kind kind;
  enum state state;
  int fd;
  /** When the request was to be sent. */
  int64_t due;
  /** Of a kept one: its number, how many requests have come due, and how many have been sent. */
  long number, wanted, sent;
  size_t length;
  char answer[ANSWER + 1];
};

struct samples {
  size_t count, most;
  int64_t* ns;
};

static struct sockaddr_in server = {.sin_family = AF_INET};
static int epoll;
/** Short and slow ones by descriptor. */
static struct connection single[MOST];
static struct connection* kept;
static long connections;
static double rate, slow_rate;
static int block_ms, handlers;
static int64_t start;
static struct samples latencies, late;
static long answered, lost, wrong, under_way;
static long slow_begun, slow_answered, slow_failed;
/** What blocks and handlers have cost, by the workers' own account. */
static int64_t slow_cpu_us;
static char failure[128];
static struct { long pid, count; } workers[MOST_WORKERS];
static int worker_count;

static void die(const char* what) {
  perror(what);
  exit(2);
}

static int64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * SECOND + t.tv_nsec;
}

static int64_t fast_time(long index) { return start + (int64_t)((double)index / rate * 1e9); }

/** In the middle of its interval: the first not at once, the last not at the end. */
static int64_t slow_time(long index) { return start + (int64_t)(((double)index + 0.5) / slow_rate * 1e9); }

static void add(struct samples* to, int64_t ns) {
  if (to->count < to->most) to->ns[to->count++] = ns;
}

static void room(struct samples* of, size_t most) {
  of->most = most;
  of->ns = malloc((most + 1) * sizeof *of->ns);
  if (!of->ns) die("malloc");
}

static int ascending(const void* a, const void* b) {
  const int64_t x = *(const int64_t*)a, y = *(const int64_t*)b;
  return (x > y) - (x < y);
}

/** Nearest rank: the least value that a share `p` does not exceed. */
static double quantile(const struct samples* of, double p) {
  // 0.999 * 1000 is more than 999
  const double rank = ceil(p * (double)of->count - 1e-6);
  return (double)of->ns[(size_t)rank - 1] / 1e3;
}

static void print_quantiles(struct samples* of) {
  if (of->count == 0) {
    printf("null");
    return;
  }
  qsort(of->ns, of->count, sizeof *of->ns, ascending);
  printf("{\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f", quantile(of, 0.5), quantile(of, 0.9), quantile(of, 0.99));
  printf(",\"p999\":%.1f,\"max\":%.1f}", quantile(of, 0.999), quantile(of, 1));
}

static void shut(struct connection* c) {
  close(c->fd);
  c->state = CLOSED;
}

static void go_on(struct connection* c);
static void ended(struct connection* c, ssize_t read, const char* why);

/** A request has been answered wrongly or not at all. */
static void fail(struct connection* c, long* how, const char* why) {
  shut(c);
  if (failure[0] == 0) snprintf(failure, sizeof failure, "%s", why);
  under_way--;
  if (c->kind == SLOW)
    slow_failed++;
  else
    ++*how;
  if (c->kind == KEPT) go_on(c);
}

static void remember(long pid) {
  int i = 0;
  while (i < worker_count && workers[i].pid != pid) i++;
  if (i == MOST_WORKERS) return;
  if (i == worker_count) workers[worker_count++].pid = pid;
  workers[i].count++;
}

static void succeed(struct connection* c, long pid, long us) {
  under_way--;
  slow_cpu_us += us;
  if (c->kind == SLOW) {
    slow_answered++;
    return;
  }
  answered++;
  remember(pid);
  add(&latencies, now() - c->due);
}

/** 1 where the answer is complete and right, 0 where more is to come, -1 where it can only be wrong. */
static int check(struct connection* c, long* pid, long* us) {
  static const char HEAD[] = "HTTP/1.1 200";
  const size_t least = sizeof HEAD - 1;
  if (memcmp(c->answer, HEAD, c->length < least ? c->length : least) != 0) return -1;
  c->answer[c->length] = 0;
  const char* end = strstr(c->answer, "\r\n\r\n");
  const char* size = end ? strcasestr(c->answer, "\r\nContent-Length:") : NULL;
  const size_t whole = size ? (size_t)(end + 4 - c->answer) + strtoul(size + 17, NULL, 10) : ANSWER;
  if (c->length < whole) return 0;
  return size && c->length == whole && sscanf(end + 4, "%ld %ld", pid, us) == 2 ? 1 : -1;
}

static void begin(struct connection* c) {
  const int on = 1;
  c->length = 0;
  c->state = CONNECTING;
  if (setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0) die("TCP_NODELAY");
  // a refusal can come back at once
  if (connect(c->fd, (const struct sockaddr*)&server, sizeof server) < 0 && errno != EINPROGRESS)
    return ended(c, -1, strerror(errno));
  struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event) < 0) die("epoll_ctl");
}

static int new_socket(void) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0 || fd >= MOST) die("socket");
  return fd;
}

static void begin_single(enum kind kind, int64_t due) {
  const int fd = new_socket();
  struct connection* c = &single[fd];
  c->kind = kind;
  c->fd = fd;
  c->due = due;
  under_way++;
  begin(c);
}

static void say(struct connection* c) {
  char text[128];
  const char* how = c->kind == KEPT ? "" : "Connection: close\r\n";
  char path[32] = "/";
  if (c->kind == SLOW || handlers) snprintf(path, sizeof path, "/slow?%d", block_ms);
  const int length = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n%s\r\n", path, how);
  c->state = WAITING;
  c->length = 0;
  if (write(c->fd, text, (size_t)length) != length) fail(c, &lost, "the request could not be sent");
}

/** A kept connection that does not wait sends what has come due. */
static void go_on(struct connection* c) {
  if (c->state == CONNECTING || c->state == WAITING) return;
  if (c->wanted == c->sent) return;
  if (c->state == CLOSED) {
    c->fd = new_socket();
    begin(c);
    return;
  }
  c->due = fast_time(c->sent++ * connections + c->number);
  say(c);
}

/** The server has closed, or the network has. */
static void ended(struct connection* c, ssize_t read, const char* why) {
  long pid, us;
  if (c->state == IDLE) { // between two requests it may
    shut(c);
    go_on(c);
  } else if (c->kind == KEPT && c->state == CONNECTING) {
    // for the first request that waits, if one does
    if (c->wanted == c->sent) return shut(c);
    c->sent++;
    fail(c, &lost, why);
  } else if (read < 0 || c->length == 0) {
    fail(c, &lost, why);
  } else if (c->kind == KEPT || check(c, &pid, &us) != 1) {
    fail(c, &wrong, "an answer that is not complete");
  } else {
    shut(c);
    succeed(c, pid, us);
  }
}

static void receive(struct connection* c) {
  for (;;) {
    char more[ANSWER];
    const ssize_t n = read(c->fd, more, ANSWER - c->length);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) return ended(c, n, n < 0 ? strerror(errno) : "closed without an answer");
    if (c->state != WAITING) {
      under_way += c->kind == KEPT; // one more than there were requests
      return fail(c, &wrong, "an answer without a request");
    }
    memcpy(c->answer + c->length, more, (size_t)n);
    c->length += (size_t)n;
    long pid, us;
    const int right = check(c, &pid, &us);
    if (right < 0) return fail(c, &wrong, "a wrong answer");
    if (right == 0 || c->kind != KEPT) continue;
    succeed(c, pid, us);
    c->state = IDLE;
    go_on(c);
    if (c->state != WAITING) return;
  }
}

static void turn(void) {
  struct epoll_event events[EVENTS];
  const int count = epoll_wait(epoll, events, EVENTS, 100);
  for (int i = 0; i < count; i++) {
    struct connection* c = events[i].data.ptr;
    // the timer
    if (!c || c->state == CLOSED) continue;
    if (c->state == CONNECTING && events[i].events == EPOLLOUT) {
      c->state = IDLE;
      (c->kind == KEPT ? go_on : say)(c);
    } else if (events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP)) {
      receive(c);
    }
  }
}

/** Nobody who is measured, nor anybody else who may run, is to hold it up. Returns what has been allowed. */
static const char* hurry(void) {
  const struct sched_param first = {.sched_priority = 1};
  if (sched_setscheduler(0, SCHED_FIFO, &first) == 0) return "real time";
  return setpriority(PRIO_PROCESS, 0, -20) == 0 ? "nice -20" : "as others";
}

static int timer_of(void) {
  const int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = NULL};
  if (timer < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &event) < 0) die("timer");
  return timer;
}

static void open_kept(void) {
  kept = calloc((size_t)connections, sizeof *kept);
  if (!kept) die("calloc");
  for (long i = 0; i < connections; i++) {
    kept[i].kind = KEPT;
    kept[i].number = i;
    kept[i].fd = new_socket();
    begin(&kept[i]);
  }
}

static void begin_fast(long index) {
  if (!kept) return begin_single(SHORT, fast_time(index));
  struct connection* c = &kept[index % connections];
  under_way++;
  c->wanted++;
  go_on(c);
}

/** All requests at their times. */
static void send_all(int timer, long fasts, long slows) {
  for (long fast = 0; fast < fasts || slow_begun < slows;) {
    const int64_t next_fast = fast < fasts ? fast_time(fast) : INT64_MAX;
    const int64_t next_slow = slow_begun < slows ? slow_time(slow_begun) : INT64_MAX;
    const int64_t next = next_fast < next_slow ? next_fast : next_slow;
    const int64_t time = now();
    if (next <= time) {
      add(&late, time - next);
      if (next == next_fast) {
        begin_fast(fast++);
      } else {
        slow_begun++;
        begin_single(SLOW, next);
      }
      continue;
    }
    const struct itimerspec at = {.it_value = {next / SECOND, next % SECOND}};
    timerfd_settime(timer, TFD_TIMER_ABSTIME, &at, NULL);
    turn();
  }
}

static void print(const char* priority, double seconds, long hung) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const long cpu_s = usage.ru_utime.tv_sec + usage.ru_stime.tv_sec;
  printf("{\"answered\":%ld,\"failed\":%ld,\"lost\":%ld", answered, lost + wrong + hung, lost);
  printf(",\"wrong\":%ld,\"hung\":%ld,\"seconds\":%.3f", wrong, hung, seconds);
  printf(",\"slowAnswered\":%ld,\"slowFailed\":%ld", slow_answered, slow_failed);
  printf(",\"slowCpuUs\":%ld,\"priority\":\"%s\"", (long)slow_cpu_us, priority);
  printf(",\"cpuUs\":%ld", cpu_s * 1000000 + usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
  if (failure[0] != 0) printf(",\"failure\":\"%s\"", failure);
  printf(",\"workers\":[");
  for (int i = 0; i < worker_count; i++) printf("%s%ld", i > 0 ? "," : "", workers[i].count);
  printf("],\"latencyUs\":");
  print_quantiles(&latencies);
  printf(",\"lateUs\":");
  print_quantiles(&late);
  printf("}\n");
}

static int only_quantiles(int count, char** microseconds) {
  room(&latencies, (size_t)count);
  for (int i = 0; i < count; i++) add(&latencies, (int64_t)(atof(microseconds[i]) * 1e3));
  print_quantiles(&latencies);
  return 0;
}

int main(int argc, char** argv) {
  if (argc > 1 && strcmp(argv[1], "quantiles") == 0) return only_quantiles(argc - 2, argv + 2);
  if (argc != 8) return 2;
  server.sin_port = htons((unsigned short)atoi(argv[1]));
  server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  rate = atof(argv[3]);
  const double seconds = atof(argv[4]);
  connections = atol(argv[5]);
  slow_rate = atof(argv[6]);
  block_ms = atoi(argv[7]), handlers = strcmp(argv[2], "handlers") == 0;
  // a product such as 0.4 * 2.5 may be a little less than it should
  const long fasts = (long)floor(rate * seconds + 1e-6), slows = (long)floor(slow_rate * seconds + 1e-6);
  if (fasts < 1 || slows < 0 || connections < 1) return 2;
  room(&latencies, (size_t)fasts);
  room(&late, (size_t)(fasts + slows));
  epoll = epoll_create1(EPOLL_CLOEXEC);
  if (epoll < 0) die("epoll_create1");
  const char* priority = hurry();
  const int timer = timer_of();
  start = now() + LEAD;
  if (strcmp(argv[2], "kept") == 0) open_kept();
  send_all(timer, fasts, slows);
  const int64_t last = now(), until = last + PATIENCE + (int64_t)BLOCKS * block_ms * 1000000;
  while (under_way > 0 && now() < until) turn();
  const int64_t end = now();
  // they hang
  const long slow_hung = slow_begun - slow_answered - slow_failed;
  slow_failed += slow_hung;
  print(priority, (double)(end - start) / 1e9, under_way - slow_hung);
  return 0;
}
