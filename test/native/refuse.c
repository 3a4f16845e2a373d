// SPDX-License-Identifier: Apache-2.0
// refuse CALL[:ARG[&MASK]=VALUE[,ARG[&MASK]=VALUE...]]:ERRNO ... -- program args...
// Runs a program for which a system call fails: a stand-in for an old kernel or a container's seccomp profile.
// ARG counts from 0 and VALUE is compared with its low 32 bits (and MASK), so `setsockopt:1=1,2=51:EPERM` refuses one
// option only.
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_io_uring_setup
#define SYS_io_uring_setup 425
#endif
#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#else
#error "x86-64 and arm64 only"
#endif

static const struct {
  const char* name;
  int number;
} CALLS[] = {
    {"setsockopt", SYS_setsockopt},
    {"getsockopt", SYS_getsockopt},
    {"sched_setaffinity", SYS_sched_setaffinity},
    {"sched_getaffinity", SYS_sched_getaffinity},
    {"pidfd_open", SYS_pidfd_open},
    {"setgroups", SYS_setgroups},
    {"memfd_create", SYS_memfd_create},
    {"fallocate", SYS_fallocate},
    {"fcntl", SYS_fcntl},
    {"mmap", SYS_mmap},
    {"mprotect", SYS_mprotect},
    {"prlimit64", SYS_prlimit64},
    {"getrandom", SYS_getrandom},
    {"clock_gettime", SYS_clock_gettime},
    {"clock_nanosleep", SYS_clock_nanosleep},
    {"nanosleep", SYS_nanosleep},
#ifdef SYS_epoll_wait
    {"epoll_wait", SYS_epoll_wait},
    {"poll", SYS_poll},
#endif
    {"prctl", SYS_prctl},
    {"sched_getattr", SYS_sched_getattr},
    {"sched_setattr", SYS_sched_setattr},
    {"socket", SYS_socket},
    {"socketpair", SYS_socketpair},
    {"sendmsg", SYS_sendmsg},
    {"recvmsg", SYS_recvmsg},
    {"sendto", SYS_sendto},
    {"shutdown", SYS_shutdown},
    {"epoll_ctl", SYS_epoll_ctl},
    {"dup3", SYS_dup3},
    {"ioctl", SYS_ioctl},
    {"kill", SYS_kill},
    {"getgroups", SYS_getgroups},
    {"tgkill", SYS_tgkill},
    {"getppid", SYS_getppid},
    {"getdents64", SYS_getdents64},
    {"rt_sigqueueinfo", SYS_rt_sigqueueinfo},
    {"io_uring_setup", SYS_io_uring_setup},
};
static const struct {
  const char* name;
  int number;
} ERRORS[] = {{"EPERM", EPERM},   {"ENOSYS", ENOSYS}, {"EINVAL", EINVAL}, {"ENOPROTOOPT", ENOPROTOOPT},
              {"ENOMEM", ENOMEM}, {"EACCES", EACCES}};

#define FIND(table, wanted) find((const void*)(table), sizeof(table) / sizeof *(table), wanted)
static int find(const void* table, size_t count, const char* wanted) {
  const struct {
    const char* name;
    int number;
  }* entry = table;
  for (size_t i = 0; i < count; i++)
    if (strcmp(entry[i].name, wanted) == 0) return entry[i].number;
  fprintf(stderr, "refuse: unknown name %s\n", wanted);
  exit(2);
}

static struct sock_filter program[64];
static unsigned short length;

static void add(unsigned short code, unsigned k, unsigned char jt, unsigned char jf) {
  program[length++] = (struct sock_filter){code, jt, jf, k};
}

static void refuse(char* rule) {
  char* call = strtok(rule, ":");
  char* second = strtok(NULL, ":");
  char* third = strtok(NULL, ":");
  if (call == NULL || second == NULL) exit(2);
  const char* error = third == NULL ? second : third;
  add(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr), 0, 0);
  if (third == NULL) {
    add(BPF_JMP | BPF_JEQ | BPF_K, FIND(CALLS, call), 0, 1);
  } else {
    unsigned char left = 0;  // conditions: three instructions each, and the return behind them
    for (const char* at = second; at != NULL; at = strchr(at + 1, ',')) left++;
    add(BPF_JMP | BPF_JEQ | BPF_K, FIND(CALLS, call), 0, 3 * left + 1);
    for (char* condition = strtok(second, ","); condition != NULL; condition = strtok(NULL, ",")) {
      char* equals = strchr(condition, '=');
      if (equals == NULL) exit(2);
      unsigned arg = (unsigned)atoi(condition);
      const char* mask = strchr(condition, '&');
      left--;
      add(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args) + 8 * arg, 0,
          0);  // little-endian: the low half
      add(BPF_ALU | BPF_AND | BPF_K, mask == NULL ? ~0U : (unsigned)strtoul(mask + 1, NULL, 0), 0, 0);
      add(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)strtoul(equals + 1, NULL, 0), 0, 3 * left + 1);
    }
  }
  add(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | FIND(ERRORS, error), 0, 0);
}

int main(int argc, char** argv) {
  int i = 1;
  add(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch), 0, 0);
  add(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0);
  add(BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0);
  for (; i < argc && strcmp(argv[i], "--") != 0 && length < 56; i++) refuse(argv[i]);
  add(BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0);
  if (i + 1 >= argc) {
    fprintf(stderr, "usage: refuse CALL[:ARG=VALUE]:ERRNO ... -- program args...\n");
    return 2;
  }
  struct sock_fprog filter = {length, program};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) {
    perror("refuse: seccomp");
    return 2;
  }
  execvp(argv[i + 1], argv + i + 1);
  perror(argv[i + 1]);
  return 127;
}
