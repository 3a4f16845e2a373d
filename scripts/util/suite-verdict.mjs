// SPDX-License-Identifier: Apache-2.0
// What the runs of Node's own tests come to.

/** The part of a test's name that says what it is about: parallel/test-child-process-x.js -> child-process. */
export function familyOf(name, families) {
  const subject = name.replace(/^.*\/test-/, '');
  return families.find((family) => new RegExp(`^${family}[-.]`).test(subject)) ?? 'others';
}

/** One line for each family: how many were run, passed and failed, and what they do with the hook alone. */
export function table(results, families) {
  const lines = [['family', 'run', 'skipped', 'pass both', 'fail both', 'fail plain', 'fail with the hook']];
  const row = (name, some) => {
    const count = (predicate) => some.filter(predicate).length;
    lines.push([
      name,
      some.length,
      count(({ plain }) => plain.skipped),
      count(({ plain, withHook }) => plain.passed && withHook.passed),
      count(({ plain, withHook }) => !plain.passed && !withHook.passed),
      count(({ plain, withHook }) => !plain.passed && withHook.passed),
      count(({ plain, withHook }) => plain.passed && !withHook.passed),
    ]);
  };
  for (const family of [...families, 'others']) {
    const some = results.filter(({ test }) => familyOf(test.name, families) === family);
    if (some.length > 0) row(family, some);
  }
  row('all', results);
  return lines.map((cells) =>
    cells
      .map((cell, i) => (i === 0 ? String(cell).padEnd(14) : String(cell).padStart(lines[0][i].length + 2)))
      .join(''),
  );
}

/**
 * The listed exceptions that are meant for this run, by test.
 * @param groups value of FASTSOCKET_TEST_GROUPS, 'none' where it is not set
 */
export function exceptionsFor(list, { major, groups }) {
  const meant = list.filter(
    ({ groups: which, versions }) => which.includes(groups) && (!versions || versions.includes(major)),
  );
  return new Map(meant.map(({ test, reason }) => [test, reason]));
}
