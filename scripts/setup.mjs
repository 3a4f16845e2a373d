// SPDX-License-Identifier: Apache-2.0
// Makes a fresh clone ready: packages, tools for the addon, build. Says one line on stderr for each thing it does.
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fail, root, run, runQuietly, say, which } from './util/shell.mjs';

/** Programs that building the addon needs, and the Debian package of each. */
const TOOLS = { 'g++': 'g++', make: 'make', python3: 'python3' };

function installPackages() {
  const stamp = join(root, 'node_modules/.fastsocket-stamp');
  const wanted = createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return;
  say('installing packages (npm ci)');
  runQuietly('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund']);
  writeFileSync(stamp, wanted);
}

function installTools() {
  const missing = Object.keys(TOOLS).filter((program) => !which(program));
  if (missing.length === 0) return;
  const packages = missing.map((program) => TOOLS[program]);
  if (process.getuid?.() !== 0 || !which('apt-get')) {
    fail(
      `building the addon needs ${missing.join(', ')}; install the package${packages.length > 1 ? 's' : ''} ${packages.join(' ')}`,
    );
  }
  say(`installing ${packages.join(', ')} (apt-get)`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  runQuietly('apt-get', ['update'], { env });
  runQuietly('apt-get', ['install', '-y', '--no-install-recommends', ...packages], { env });
}

installPackages();
if (process.platform === 'linux') installTools();
say('building');
process.exit(run(process.execPath, [join(root, 'scripts/build.mjs')], { stdio: ['ignore', 2, 'inherit'] }));
