// SPDX-License-Identifier: Apache-2.0

import {
  AD_CPU,
  AD_IFINDEX,
  AD_RANDOM,
  ADD,
  type Instruction,
  JA,
  JEQ,
  JGE,
  LD_ABS,
  LD_IMM,
  MOD,
  type Program,
  RET_A,
  RET_K,
} from './bpf';

/** What a program can see of a connection request. */
export interface PacketFacts {
  /** The CPU that handles it. */
  readonly cpu: number;
  /** Index of the interface that it came in by; undefined: it has none. */
  readonly ifindex?: number | undefined;
  /** 32 random bits, unsigned. */
  readonly random: () => number;
}

export interface Outcome {
  readonly result: number;
  /** Instructions executed. */
  readonly steps: number;
}

function load(k: number, facts: PacketFacts): number | undefined {
  switch (k) {
    case AD_CPU:
      return facts.cpu;
    case AD_IFINDEX:
      return facts.ifindex;
    case AD_RANDOM:
      return facts.random() >>> 0;
    default:
      throw new RangeError(`load from 0x${k.toString(16)}`);
  }
}

/**
 * Runs a generated program as the kernel would. It knows what the generator uses and no more.
 *
 * @throws RangeError on any other instruction, and on leaving the program.
 */
export function run(program: Program, facts: PacketFacts): Outcome {
  let a = 0;
  let at = 0;
  for (let steps = 1; ; steps++) {
    const instruction: Instruction | undefined = program[at];
    if (!instruction) throw new RangeError(`ran off the program at ${at}`);
    const { code, jt, jf, k } = instruction;
    at++;
    switch (code) {
      case LD_ABS: {
        const loaded = load(k, facts);
        // Only the interface's index can be missing; the kernel then ends the program with A.
        if (loaded === undefined) return { result: a, steps };
        a = loaded;
        break;
      }
      case LD_IMM:
        a = k;
        break;
      case ADD:
        a = (a + k) >>> 0;
        break;
      case MOD:
        a %= k;
        break;
      case JA:
        at += k;
        break;
      case JEQ:
        at += a === k ? jt : jf;
        break;
      case JGE:
        at += a >= k ? jt : jf;
        break;
      case RET_K:
        return { result: k, steps };
      case RET_A:
        return { result: a, steps };
      default:
        throw new RangeError(
          `instruction ${at - 1}: code 0x${code.toString(16)} is not one of the generator's`,
        );
    }
  }
}
