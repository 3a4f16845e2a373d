// SPDX-License-Identifier: Apache-2.0
// The hash by which network cards choose a queue ("Verifying the RSS hash calculation", Microsoft's documentation of RSS).

const BYTE = 8;
const WORD = 32;

/** 32 bits of the key from bit `offset` on, as a signed number. The key has 4 bytes more than what is hashed. */
function window(key: ArrayLike<number>, offset: number): number {
  const at = offset >> 3;
  const shift = offset & 7;
  const byte = (i: number) => key[at + i] ?? 0;
  const word = (byte(0) << 24) | (byte(1) << 16) | (byte(2) << 8) | byte(3);
  return shift === 0 ? word : (word << shift) | (byte(4) >> (BYTE - shift));
}

/**
 * Toeplitz hash of `data`, unsigned.
 * @throws RangeError where the key is too short for it
 */
export function toeplitz(key: ArrayLike<number>, data: ArrayLike<number>): number {
  if (key.length * BYTE < data.length * BYTE + WORD)
    throw new RangeError(`a key of ${key.length} bytes is too short for ${data.length} bytes`);
  let hash = 0;
  for (let bit = 0; bit < data.length * BYTE; bit++) {
    if (((data[bit >> 3] as number) & (0x80 >> (bit & 7))) !== 0) hash ^= window(key, bit);
  }
  return hash >>> 0;
}

/**
 * What each of the 65,536 ports adds to the hash when it is the last two of `length` bytes. The hash is linear: that of a
 * tuple is that of the tuple with port 0, xored with this. Of each only the bits in `mask` are kept.
 */
export function portParts(key: ArrayLike<number>, length: number, mask: number): Uint16Array {
  const parts = new Uint16Array(65_536);
  for (let bit = 0; bit < 16; bit++) {
    const one = 1 << bit;
    const part = window(key, (length - 2) * BYTE + 15 - bit) & mask;
    // ports below `one` are known: each with this bit set is one of them with a part more
    for (let port = one; port < 2 * one; port++) parts[port] = (parts[port - one] as number) ^ part;
  }
  return parts;
}
