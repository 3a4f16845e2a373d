// SPDX-License-Identifier: Apache-2.0
// The smallest HTTP server: PORT. SIGUSR2 has it tell what it holds, after a full collection (--expose-gc).
const { readdirSync } = require('node:fs');
const { createServer } = require('node:http');

const { PORT, ADDON } = process.env;
createServer((_request, response) => response.end('hello')).listen(Number(PORT), '127.0.0.1');

process.on('SIGUSR2', () => {
  gc();
  const stats = ADDON === undefined ? {} : require(ADDON).seamStats();
  const { known = 0, held = 0, accepted = 0 } = stats;
  const { rss, heapUsed } = process.memoryUsage();
  const fds = readdirSync('/proc/self/fd').length;
  process.stderr.write(`holds ${JSON.stringify({ fds, known, held, accepted, rss, heapUsed })}\n`);
});
