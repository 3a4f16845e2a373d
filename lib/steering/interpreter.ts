// SPDX-License-Identifier: Apache-2.0

import {
  AD_CPU,
  AD_IFINDEX,
  AD_RANDOM,
  ADD,
  AND,
  type Instruction,
  JA,
  JEQ,
  JGE,
  JSET,
  LD_ABS,
  LD_IMM,
  LD_MEM,
  MOD,
  MUL,
  NET,
  type Program,
  RET_A,
  RET_K,
  RSH,
  RSH_X,
  SKF_AD_OFF,
  ST,
  TAX,
  TXA,
  XOR,
  XOR_X,
} from './bpf';

/** What a program can see of a connection request. */
export interface PacketFacts {
  /** The CPU that handles it. */
  readonly cpu: number;
  /** Index of the interface that it came in by; undefined: it has none. */
  readonly ifindex?: number | undefined;
  /** 32 random bits, unsigned. */
  readonly random: () => number;
  /** Its bytes from the network header on; undefined where no program looks at them. */
  readonly network?: Uint8Array | undefined;
}

export interface Outcome {
  readonly result: number;
  /** Instructions executed. */
  readonly steps: number;
}

interface Ended {
  readonly ended: number;
}

interface Registers {
  a: number;
  x: number;
  /** Words of memory that have been written. */
  readonly memory: Map<number, number>;
}

/** Four bytes of the network header; the kernel ends the program with 0 where they are not there. */
function loadNetwork(offset: number, network: Uint8Array): number | Ended {
  if (offset + 4 > network.length) return { ended: 0 };
  return new DataView(network.buffer, network.byteOffset).getUint32(offset);
}

function load(k: number, a: number, facts: PacketFacts): number | Ended {
  if (k >= NET && k < SKF_AD_OFF && facts.network) return loadNetwork(k - NET, facts.network);
  switch (k) {
    case AD_CPU:
      return facts.cpu;
    case AD_IFINDEX:
      // the kernel ends the program with A where the packet has no interface
      return facts.ifindex ?? { ended: a };
    case AD_RANDOM:
      return facts.random() >>> 0;
    default:
      throw new RangeError(`load from 0x${k.toString(16)}`);
  }
}

/** A after an instruction that neither jumps nor returns nor loads from the packet; undefined: none of the generators' does that. */
function compute({ code, k }: Instruction, { a, x, memory }: Registers): number | undefined {
  switch (code) {
    case LD_IMM:
      return k;
    case LD_MEM:
      return memory.get(k);
    case TXA:
      return x;
    case ADD:
      return a + k;
    case MUL:
      return Math.imul(a, k);
    case MOD:
      return a % k;
    case AND:
      return a & k;
    case RSH:
      return a >>> k;
    case RSH_X:
      return x < 32 ? a >>> x : undefined;
    case XOR:
      return a ^ k;
    case XOR_X:
      return a ^ x;
    default:
      return undefined;
  }
}

/**
 * Runs a generated program as the kernel would. It knows what the generators use and no more.
 *
 * @throws RangeError on any other instruction, on a word of memory that has not been written, on a shift by 32 bits or
 *   more, and on leaving the program.
 */
export function run(program: Program, facts: PacketFacts): Outcome {
  const registers: Registers = { a: 0, x: 0, memory: new Map() };
  let at = 0;
  for (let steps = 1; ; steps++) {
    const instruction: Instruction | undefined = program[at];
    if (!instruction) throw new RangeError(`ran off the program at ${at}`);
    const { code, jt, jf, k } = instruction;
    const { a } = registers;
    at++;
    switch (code) {
      case LD_ABS: {
        const loaded = load(k, a, facts);
        if (typeof loaded === 'object') return { result: loaded.ended, steps };
        registers.a = loaded;
        break;
      }
      case TAX:
        registers.x = a;
        break;
      case ST:
        registers.memory.set(k, a);
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
      case JSET:
        at += (a & k) !== 0 ? jt : jf;
        break;
      case RET_K:
        return { result: k, steps };
      case RET_A:
        return { result: a, steps };
      default: {
        const result = compute(instruction, registers);
        if (result === undefined)
          throw new RangeError(
            `instruction ${at - 1}: code 0x${code.toString(16)} is not one of the generators', or is used as they never do`,
          );
        registers.a = result >>> 0;
      }
    }
  }
}
