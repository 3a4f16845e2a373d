// SPDX-License-Identifier: Apache-2.0
// Classic BPF as the kernel takes it. Numbers from linux/bpf_common.h and linux/filter.h; rules from
// net/core/filter.c (bpf_check_classic, bpf_convert_filter).

/** struct sock_filter: `code`, jump offsets if true and if false (8 bits each), operand (32 bits). */
export interface Instruction {
  readonly code: number;
  readonly jt: number;
  readonly jf: number;
  readonly k: number;
}

export type Program = readonly Instruction[];

/** BPF_LD | BPF_W | BPF_ABS: A = the word at k. */
export const LD_ABS = 0x20;
/** BPF_LD | BPF_W | BPF_IMM: A = k. */
export const LD_IMM = 0x00;
/** BPF_LD | BPF_MEM: A = M[k]. */
export const LD_MEM = 0x60;
/** BPF_ST: M[k] = A. */
export const ST = 0x02;
/** BPF_MISC | BPF_TAX: X = A. */
export const TAX = 0x07;
/** BPF_MISC | BPF_TXA: A = X. */
export const TXA = 0x87;
/** BPF_ALU | BPF_ADD | BPF_K: A += k, modulo 2^32. */
export const ADD = 0x04;
/** BPF_ALU | BPF_MUL | BPF_K: A *= k, modulo 2^32. */
export const MUL = 0x24;
/** BPF_ALU | BPF_AND | BPF_K: A &= k. */
export const AND = 0x54;
/** BPF_ALU | BPF_RSH | BPF_K: A >>= k, unsigned (k from 32 on is refused at attach). */
export const RSH = 0x74;
/** BPF_ALU | BPF_RSH | BPF_X: A >>= X, unsigned. Nobody checks that X is below 32. */
export const RSH_X = 0x7c;
/** BPF_ALU | BPF_XOR | BPF_K: A ^= k (Linux 3.7). */
export const XOR = 0xa4;
/** BPF_ALU | BPF_XOR | BPF_X: A ^= X (Linux 3.7). */
export const XOR_X = 0xac;
/** BPF_ALU | BPF_MOD | BPF_K: A %= k (Linux 3.7; k = 0 is refused at attach). */
export const MOD = 0x94;
/** BPF_JMP | BPF_JA: jump by k. */
export const JA = 0x05;
/** BPF_JMP | BPF_JEQ | BPF_K: jump by jt if A == k, else by jf. */
export const JEQ = 0x15;
/** BPF_JMP | BPF_JGE | BPF_K: jump by jt if A >= k (unsigned), else by jf. */
export const JGE = 0x35;
/** BPF_JMP | BPF_JSET | BPF_K: jump by jt if A & k is not 0, else by jf. */
export const JSET = 0x45;
/** BPF_RET | BPF_K: return k. */
export const RET_K = 0x06;
/** BPF_RET | BPF_A: return A. */
export const RET_A = 0x16;

/**
 * SKF_NET_OFF, -0x100000: loads from here on are bytes of the network header. The data of the packet itself begin behind
 * the transport header here (net/core/sock_reuseport.c, run_bpf_filter), and a load from what is not there ends the
 * program with 0 (net/core/filter.c, convert_bpf_ld_abs). A header of IPv4 or IPv6 is there: it has been parsed.
 */
export const NET = 0xfff00000;
/** SKF_AD_OFF, -0x1000: loads from here on are facts about the packet, not its bytes. */
export const SKF_AD_OFF = 0xfffff000;
/** SKF_AD_IFINDEX: index of the interface the packet came in by. Returns A at once if there is none. */
export const AD_IFINDEX = SKF_AD_OFF + 8;
/** SKF_AD_CPU: the CPU that runs the program, which for a SYN is the one its softirq runs on. */
export const AD_CPU = SKF_AD_OFF + 36;
/** SKF_AD_RANDOM (Linux 3.18): 32 random bits, new ones at each load. */
export const AD_RANDOM = SKF_AD_OFF + 56;

/** BPF_MAXINSNS (linux/bpf_common.h). */
export const MAX_INSTRUCTIONS = 4096;

/** BPF_MEMWORDS (linux/filter.h): words of memory, M[0] to M[15]. */
const MEMORY_WORDS = 16;

/** Furthest that a conditional jump reaches. */
const REACH = 255;

export const loadAbsolute = (k: number): Instruction => ({ code: LD_ABS, jt: 0, jf: 0, k });
export const loadConstant = (k: number): Instruction => ({ code: LD_IMM, jt: 0, jf: 0, k });
export const loadMemory = (k: number): Instruction => ({ code: LD_MEM, jt: 0, jf: 0, k });
export const store = (k: number): Instruction => ({ code: ST, jt: 0, jf: 0, k });
export const copyToX = (): Instruction => ({ code: TAX, jt: 0, jf: 0, k: 0 });
export const copyFromX = (): Instruction => ({ code: TXA, jt: 0, jf: 0, k: 0 });
export const add = (k: number): Instruction => ({ code: ADD, jt: 0, jf: 0, k: k >>> 0 });
export const multiply = (k: number): Instruction => ({ code: MUL, jt: 0, jf: 0, k: k >>> 0 });
export const mask = (k: number): Instruction => ({ code: AND, jt: 0, jf: 0, k: k >>> 0 });
export const shiftRight = (k: number): Instruction => ({ code: RSH, jt: 0, jf: 0, k });
export const shiftRightByX = (): Instruction => ({ code: RSH_X, jt: 0, jf: 0, k: 0 });
export const xor = (k: number): Instruction => ({ code: XOR, jt: 0, jf: 0, k: k >>> 0 });
export const xorX = (): Instruction => ({ code: XOR_X, jt: 0, jf: 0, k: 0 });
export const modulo = (k: number): Instruction => ({ code: MOD, jt: 0, jf: 0, k });
export const jump = (k: number): Instruction => ({ code: JA, jt: 0, jf: 0, k });
export const giveConstant = (k: number): Instruction => ({ code: RET_K, jt: 0, jf: 0, k });
export const giveA = (): Instruction => ({ code: RET_A, jt: 0, jf: 0, k: 0 });

/**
 * `A >= bound` -> `above`, else `below`. Both must end in returns or jumps of their own. Where `below`
 * is longer than a conditional jump reaches, the way to `above` is a trampoline: the condition steps
 * over or onto a jump with 32 bits.
 */
export function branch(bound: number, below: Program, above: Program): Instruction[] {
  const far = below.length > REACH;
  const head: Instruction[] = far
    ? [{ code: JGE, jt: 0, jf: 1, k: bound }, jump(below.length)]
    : [{ code: JGE, jt: below.length, jf: 0, k: bound }];
  return [...head, ...below, ...above];
}

/** `A == value` -> `then`, else `otherwise`; far jumps as in `branch`. */
export function branchEqual(value: number, then: Program, otherwise: Program): Instruction[] {
  const far = then.length > REACH;
  const head: Instruction[] = far
    ? [{ code: JEQ, jt: 1, jf: 0, k: value }, jump(then.length)]
    : [{ code: JEQ, jt: 0, jf: then.length, k: value }];
  return [...head, ...then, ...otherwise];
}

const JUMPS: readonly number[] = [JEQ, JGE, JSET];
const MEMORY: readonly number[] = [LD_MEM, ST];
const ARITHMETIC: readonly number[] = [ADD, MUL, MOD, AND, RSH, RSH_X, XOR, XOR_X];
const PLAIN: readonly number[] = [LD_ABS, LD_IMM, TAX, TXA, ...MEMORY, ...ARITHMETIC];
const RETURNS: readonly number[] = [RET_K, RET_A];

function problemAt(program: Program, at: number): string | undefined {
  const { code, jt, jf, k } = program[at] as Instruction;
  const inside = (offset: number): boolean => at + 1 + offset < program.length;
  if (!Number.isInteger(k) || k < 0 || k > 0xffffffff) return `operand ${k} is not an unsigned 32-bit number`;
  if (JUMPS.includes(code)) {
    if (jt > REACH || jf > REACH || jt < 0 || jf < 0) return `offsets ${jt}, ${jf} do not fit into 8 bits`;
    return inside(jt) && inside(jf) ? undefined : 'jumps off the end';
  }
  if (code === JA) return inside(k) ? undefined : 'jumps off the end';
  if (code === MOD && k === 0) return 'divides by zero';
  if (code === RSH && k >= 32) return `shifts by ${k}`;
  if (MEMORY.includes(code) && k >= MEMORY_WORDS) return `no word ${k} of memory`;
  if (PLAIN.includes(code)) return at + 1 < program.length ? undefined : 'falls off the end';
  return RETURNS.includes(code) ? undefined : `code 0x${code.toString(16)} is not one of ours`;
}

/**
 * Checks what the kernel checks at attach (and that only our own codes are in it): all jumps land
 * inside, no path leaves by the end. Jumps are forward only, so every path ends. Not checked: that a word of memory is
 * written on every way to where it is read (check_load_and_stores).
 *
 * @throws RangeError naming the first instruction at fault.
 */
export function verify(program: Program): void {
  if (program.length === 0 || program.length > MAX_INSTRUCTIONS) {
    throw new RangeError(`a program of ${program.length} instructions; 1 to ${MAX_INSTRUCTIONS} are allowed`);
  }
  for (let at = 0; at < program.length; at++) {
    const problem = problemAt(program, at);
    if (problem) throw new RangeError(`instruction ${at}: ${problem}`);
  }
}

/** The program as an array of struct sock_filter (8 bytes each) in this machine's byte order. */
export function encode(program: Program): Uint8Array {
  verify(program);
  const bytes = new Uint8Array(program.length * 8);
  const view = new DataView(bytes.buffer);
  const little = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;
  program.forEach(({ code, jt, jf, k }, i) => {
    view.setUint16(i * 8, code, little);
    view.setUint8(i * 8 + 2, jt);
    view.setUint8(i * 8 + 3, jf);
    view.setUint32(i * 8 + 4, k, little);
  });
  return bytes;
}
