// SPDX-License-Identifier: Apache-2.0
// An unmodified server: PORT, and REUSE for reusePort. Says its pid and how much CPU it has just burnt; /slow?MS blocks it.
const { createServer } = require('node:http');

const { PORT, REUSE } = process.env;

/** Keeps the event loop for so long; returns the CPU time that this took, in microseconds. */
function block(ms) {
  const before = process.cpuUsage();
  for (const end = performance.now() + ms; performance.now() < end; );
  const { user, system } = process.cpuUsage(before);
  return user + system;
}

createServer(({ url }, response) => {
  const us = url.startsWith('/slow?') ? block(Number(url.slice('/slow?'.length))) : 0;
  response.end(`${process.pid} ${us}`);
}).listen({ port: Number(PORT), host: '127.0.0.1', ...(REUSE ? { reusePort: true } : {}) });
