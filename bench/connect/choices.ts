// SPDX-License-Identifier: Apache-2.0
// What the hook's debug log says about the ports of connect(). Pure.

export interface Choices {
  /** By the seam. */
  chosen: number;
  /** By the kernel. */
  kernels: number;
  /** Tries of ports that somebody else had. */
  misses: number;
}

/** Above this share of ports that were the kernel's choice the figures are not the hook's. */
const MOST_KERNELS = 0.01;

/** Of the last line about connections to this port; undefined where there is none. */
export function choicesOf(stderr: string, port: number): Choices | undefined {
  const lines = stderr.matchAll(/connect .*:(\d+): .* (\d+) chosen, (\d+) by the kernel, (\d+) retries/g);
  const last = [...lines].filter(([, to]) => Number(to) === port).at(-1);
  if (!last) return undefined;
  const [chosen, kernels, misses] = last.slice(2).map(Number) as [number, number, number];
  return { chosen, kernels, misses };
}

/** Why what was measured is not what the hook does; undefined where it is. */
export function choicesRemark(stderr: string, choices: Choices | undefined): string | undefined {
  if (!choices) {
    const why = /^fastsocket: .*$|the seam is off.*$|source ports are the kernel's.*$/m.exec(stderr)?.[0];
    return why ?? 'the seam has not said that it chooses ports';
  }
  const { chosen, kernels } = choices;
  const share = kernels / (chosen + kernels);
  return share > MOST_KERNELS
    ? `${(share * 100).toFixed(1)} % of the ports were the kernel's choice`
    : undefined;
}
