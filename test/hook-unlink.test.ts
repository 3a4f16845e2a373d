// SPDX-License-Identifier: Apache-2.0
// Paths that a copy must not remove stay, whichever way the app takes; all others go.
import assert from 'node:assert/strict';
import fs, { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { hookUnlink } from '../lib/hook/unlink';

const FORMS: Record<string, (path: string) => unknown> = {
  unlinkSync: (path) => fs.unlinkSync(path),
  'unlinkSync of a Buffer': (path) => fs.unlinkSync(Buffer.from(path)),
  rmSync: (path) => fs.rmSync(path, { force: true }),
  unlink: (path) => promisify(fs.unlink)(path),
  rm: (path) => promisify(fs.rm)(path),
  'rm with options': (path) => promisify(fs.rm)(path, { force: true }),
  'promises.unlink': (path) => fs.promises.unlink(path),
  'promises.rm': (path) => fs.promises.rm(path),
};

describe('a path that stays', () => {
  const folder = mkdtempSync(join(tmpdir(), 'fastsocket-unlink-'));
  const kept = join(folder, 'kept');
  const shapes = () =>
    [fs.unlinkSync, fs.rmSync, fs.unlink, fs.rm, fs.promises.unlink, fs.promises.rm].map(
      ({ name, length }) => `${name} ${length}`,
    );
  const plain = shapes();
  let stays = true;

  before(() => {
    writeFileSync(kept, '');
    hookUnlink((path) => stays && path === kept);
  });
  after(() => {
    stays = false;
    rmSync(folder, { recursive: true });
  });

  for (const [form, remove] of Object.entries(FORMS)) {
    test(form, async () => {
      const other = join(folder, 'other');
      writeFileSync(other, '');
      assert.equal(await remove(kept), undefined);
      assert.ok(existsSync(kept));
      await remove(other);
      assert.ok(!existsSync(other));
    });
  }

  test('what does not exist fails as ever', async () => {
    const none = join(folder, 'none');
    assert.throws(() => fs.unlinkSync(none), { code: 'ENOENT', syscall: 'unlink' });
    await assert.rejects(promisify(fs.unlink)(none), { code: 'ENOENT' });
    await assert.rejects(fs.promises.unlink(none), { code: 'ENOENT' });
  });

  test('the functions look as before', () => {
    assert.deepEqual(shapes(), plain);
  });
});
