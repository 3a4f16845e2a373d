// SPDX-License-Identifier: Apache-2.0
// The smallest HTTP server: PORT. BATCH: with the seam, and so many connections to an event at most.
const { createServer } = require('node:http');

const { PORT, ADDON, BATCH, PIECES } = process.env;
if (ADDON) {
  // the bound is no setting: the addon is asked itself
  const result = require(ADDON).seamAttach(Number(PIECES), Number(BATCH), 2_000);
  if (result !== 0) throw new Error(`no seam: ${result}`);
}
createServer((_request, response) => response.end('hello')).listen(Number(PORT), '127.0.0.1');
