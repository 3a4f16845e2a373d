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
/** BPF_ALU | BPF_ADD | BPF_K: A += k, modulo 2^32. */
export const ADD = 0x04;
/** BPF_ALU | BPF_MOD | BPF_K: A %= k (Linux 3.7; k = 0 is refused at attach). */
export const MOD = 0x94;
/** BPF_JMP | BPF_JA: jump by k. */
export const JA = 0x05;
/** BPF_JMP | BPF_JEQ | BPF_K: jump by jt if A == k, else by jf. */
export const JEQ = 0x15;
/** BPF_JMP | BPF_JGE | BPF_K: jump by jt if A >= k (unsigned), else by jf. */
export const JGE = 0x35;
/** BPF_RET | BPF_K: return k. */
export const RET_K = 0x06;
/** BPF_RET | BPF_A: return A. */
export const RET_A = 0x16;

/** SKF_AD_OFF, -0x1000: loads from here on are facts about the packet, not its bytes. */
const SKF_AD_OFF = 0xfffff000;
/** SKF_AD_IFINDEX: index of the interface the packet came in by. Returns A at once if there is none. */
export const AD_IFINDEX = SKF_AD_OFF + 8;
/** SKF_AD_CPU: the CPU that runs the program, which for a SYN is the one its softirq runs on. */
export const AD_CPU = SKF_AD_OFF + 36;
/** SKF_AD_RANDOM (Linux 3.18): 32 random bits, new ones at each load. */
export const AD_RANDOM = SKF_AD_OFF + 56;

/** BPF_MAXINSNS (linux/bpf_common.h). */
export const MAX_INSTRUCTIONS = 4096;

/** Furthest that a conditional jump reaches. */
const REACH = 255;

export const loadAbsolute = (k: number): Instruction => ({ code: LD_ABS, jt: 0, jf: 0, k });
export const loadConstant = (k: number): Instruction => ({ code: LD_IMM, jt: 0, jf: 0, k });
export const add = (k: number): Instruction => ({ code: ADD, jt: 0, jf: 0, k: k >>> 0 });
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

const JUMPS: readonly number[] = [JEQ, JGE];
const PLAIN: readonly number[] = [LD_ABS, LD_IMM, ADD, MOD];
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
  if (PLAIN.includes(code)) return at + 1 < program.length ? undefined : 'falls off the end';
  return RETURNS.includes(code) ? undefined : `code 0x${code.toString(16)} is not one of ours`;
}

/**
 * Checks what the kernel checks at attach (and that only our own codes are in it): all jumps land
 * inside, no path leaves by the end. Jumps are forward only, so every path ends.
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
