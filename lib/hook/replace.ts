// SPDX-License-Identifier: Apache-2.0
// Nothing outside this folder replaces anything in Node. A replacement keeps the name, the length and the property
// descriptor of what it stands for.

export type AnyFunction = (this: unknown, ...args: never[]) => unknown;

/**
 * Calls `before` at the next call of target[name], which is the original again by then; where an app has wrapped what we
 * have put there it stays, and `before` is called each time, with false.
 */
export function beforeNext<T extends object, K extends keyof T>(
  target: T,
  name: K,
  before: (restored: boolean) => void,
): void {
  const descriptor = Object.getOwnPropertyDescriptor(target, name);
  const original = target[name] as AnyFunction;
  replace(
    target,
    name,
    (() =>
      function (this: unknown, ...args: never[]) {
        const restored = target[name] === put && descriptor !== undefined;
        if (restored) Object.defineProperty(target, name, descriptor);
        before(restored);
        return Reflect.apply(original, this, args);
      }) as () => T[K],
  );
  const put = target[name];
}

/** Puts `make(original)` in the place of target[name]. */
export function replace<T extends object, K extends keyof T>(
  target: T,
  name: K,
  make: (original: T[K]) => T[K],
): void {
  const original = target[name];
  const replacement = make(original);
  for (const property of ['name', 'length'] as const) {
    const descriptor = Object.getOwnPropertyDescriptor(original, property);
    if (descriptor) Object.defineProperty(replacement, property, descriptor);
  }
  const descriptor = Object.getOwnPropertyDescriptor(target, name);
  const { enumerable = true, configurable = true } = descriptor ?? {};
  Object.defineProperty(target, name, { value: replacement, writable: true, enumerable, configurable });
}
