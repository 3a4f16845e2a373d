// SPDX-License-Identifier: Apache-2.0
// A system call is refused without which a copy cannot give its port back to the origin and keep its server: the server closes
// there, and the port is served by the others.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { answeredBy, fixture, freePort, multiplied, request, startApp, until } from './support/app';
import { Ledger } from './support/ledger';
import { refusing } from './support/refuse';
import { errnosOf, reasonsOf } from './support/sandbox';
import { temporaryFolder } from './support/temporary';

const HOST = '127.0.0.1';
const SAYS = /closes here: getsockopt, socket or dup3 fails/;
const folder = temporaryFolder('late');

describe('refused, one at a time', { concurrency: 2 }, () => {
  ['dup3', 'getsockopt:1=1,2=39'].forEach((rule, i) => {
    for (const errno of errnosOf(i))
      test(`${rule}: ${errno}`, { timeout: 60_000 }, async (t) => {
        const ledger = new Ledger();
        const go = join(folder, errno + i);
        const main = await freePort(HOST);
        const app = startApp(fixture('late-ports.js'), {
          port: await freePort(HOST),
          prefix: refusing(`${rule}:${errno}`),
          env: { MAIN: String(main), LEDGER: ledger.path, ORIGIN_AT: go, COPY_MS: '0' },
        });
        t.after(() => app.stop());
        const workers = await multiplied(app, 2, HOST);
        const owner = await until(
          () => workers.find((pid) => ledger.count(`main ${main}`, pid) === 1),
          'an owner',
        );
        writeFileSync(go, '');
        await until(() => ledger.count(`main ${main}`, app.pid) === 1, 'the origin');
        const other = workers.find((pid) => pid !== owner);
        await until(
          // there is a moment in which nobody has it
          () =>
            request(main, '/', HOST).then(
              (text) => answeredBy(text) === other,
              () => false,
            ),
          () => `an answer of ${other}:\n${app.stderr}`,
        );
        assert.deepEqual(app.workers(), workers, 'nobody has died');
        await app.stop();
        const reasons = reasonsOf(app);
        assert.deepEqual(
          reasons.map(({ pid }) => pid),
          [owner],
          app.stderr,
        );
        for (const { text } of reasons) assert.match(text, SAYS);
      });
  });
});
