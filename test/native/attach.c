// SPDX-License-Identifier: Apache-2.0
// attach nohash IF        what leaves the interface has no packet hash: RPS of the other end computes one, as of a wire's
// attach rfd IF CPUS      XDP: TCP over IPv4 goes to CPU (destination port & (CPUS - 1)); CPUS is a power of two
// Holds the program until its standard input ends. Assembled by hand: no compiler for BPF is needed.
#include <errno.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

// linux/bpf.h, enum bpf_attach_type; TCX since 6.6.
#define TCX_EGRESS 47
#define XDP 37

static int bpf(int command, union bpf_attr* attributes) {
  return (int)syscall(SYS_bpf, command, attributes, sizeof *attributes);
}

static int must(int result, const char* what) {
  if (result >= 0) return result;
  fprintf(stderr, "attach: %s: %s\n", what, strerror(errno));
  exit(1);
}

#define INSN(c, d, s, o, i) {.code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i)}
#define MOV(d, s) INSN(BPF_ALU64 | BPF_MOV | BPF_X, d, s, 0, 0)
#define SET(d, i) INSN(BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, i)
#define ADD(d, i) INSN(BPF_ALU64 | BPF_ADD | BPF_K, d, 0, 0, i)
#define AND(d, i) INSN(BPF_ALU64 | BPF_AND | BPF_K, d, 0, 0, i)
#define LOAD(size, d, s, o) INSN(BPF_LDX | (size) | BPF_MEM, d, s, o, 0)
#define UNLESS(d, i, o) INSN(BPF_JMP | BPF_JNE | BPF_K, d, 0, o, i)
#define ABOVE(d, s, o) INSN(BPF_JMP | BPF_JGT | BPF_X, d, s, o, 0)
#define CALL(f) INSN(BPF_JMP | BPF_CALL, 0, 0, 0, f)
#define EXIT INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

static int load(int type, int attach, const struct bpf_insn* program, size_t count) {
  union bpf_attr load = {0};
  load.prog_type = (uint32_t)type;
  load.expected_attach_type = (uint32_t)attach;
  load.insns = (uintptr_t)program;
  load.insn_cnt = (uint32_t)count;
  load.license = (uintptr_t) "GPL";
  return must(bpf(BPF_PROG_LOAD, &load), "BPF_PROG_LOAD");
}

static int nohash(void) {
  const struct bpf_insn program[] = {CALL(BPF_FUNC_set_hash_invalid), SET(0, 0), EXIT};
  return load(BPF_PROG_TYPE_SCHED_CLS, TCX_EGRESS, program, sizeof program / sizeof *program);
}

// Queues of the CPUs, by number.
static int cpuMap(int cpus) {
  union bpf_attr map = {0};
  map.map_type = BPF_MAP_TYPE_CPUMAP;
  map.key_size = sizeof(uint32_t);
  map.value_size = sizeof(uint32_t);
  map.max_entries = (uint32_t)cpus;
  const int fd = must(bpf(BPF_MAP_CREATE, &map), "BPF_MAP_CREATE");
  for (uint32_t cpu = 0; cpu < (uint32_t)cpus; cpu++) {
    const uint32_t length = 2048;
    union bpf_attr entry = {0};
    entry.map_fd = (uint32_t)fd;
    entry.key = (uintptr_t)&cpu;
    entry.value = (uintptr_t)&length;
    must(bpf(BPF_MAP_UPDATE_ELEM, &entry), "BPF_MAP_UPDATE_ELEM");
  }
  return fd;
}

static int rfd(int cpus) {
  enum { TO_PASS = 18 };
  const struct bpf_insn program[] = {
      /* 0 */ LOAD(BPF_W, 6, 1, 0),
      /* 1 */ LOAD(BPF_W, 7, 1, 4),
      /* 2 */ MOV(2, 6),
      /* 3 */ ADD(2, 14 + 20 + 20),
      /* 4 */ ABOVE(2, 7, TO_PASS - 5),
      // Ethernet's type, in network order; IPv4 without options; TCP
      /* 5 */ LOAD(BPF_H, 3, 6, 12),
      /* 6 */ UNLESS(3, 0x0008, TO_PASS - 7),
      /* 7 */ LOAD(BPF_B, 3, 6, 14),
      /* 8 */ UNLESS(3, 0x45, TO_PASS - 9),
      /* 9 */ LOAD(BPF_B, 3, 6, 23),
      /* 10 */ UNLESS(3, 6, TO_PASS - 11),
      // the low byte of the destination port
      /* 11 */ LOAD(BPF_B, 2, 6, 14 + 20 + 3),
      /* 12 */ AND(2, cpus - 1),
      /* 13 */ INSN(BPF_LD | BPF_DW | BPF_IMM, 1, BPF_PSEUDO_MAP_FD, 0, cpuMap(cpus)),
      /* 14 */ INSN(0, 0, 0, 0, 0),
      /* 15 */ SET(3, XDP_PASS),
      /* 16 */ CALL(BPF_FUNC_redirect_map),
      /* 17 */ EXIT,
      /* 18 */ SET(0, XDP_PASS),
      /* 19 */ EXIT,
  };
  return load(BPF_PROG_TYPE_XDP, 0, program, sizeof program / sizeof *program);
}

int main(int argc, char** argv) {
  const int isRfd = argc == 4 && strcmp(argv[1], "rfd") == 0;
  if (!isRfd && !(argc == 3 && strcmp(argv[1], "nohash") == 0)) {
    fprintf(stderr, "usage: attach nohash IF | attach rfd IF CPUS\n");
    return 2;
  }
  const unsigned index = if_nametoindex(argv[2]);
  if (index == 0) must(-1, argv[2]);
  union bpf_attr link = {0};
  link.link_create.prog_fd = (uint32_t)(isRfd ? rfd(atoi(argv[3])) : nohash());
  link.link_create.target_fd = index;
  link.link_create.attach_type = isRfd ? XDP : TCX_EGRESS;
  must(bpf(BPF_LINK_CREATE, &link), "BPF_LINK_CREATE");
  puts("attached");
  fflush(stdout);
  char byte;
  while (read(STDIN_FILENO, &byte, 1) > 0) continue;
  return 0;
}
