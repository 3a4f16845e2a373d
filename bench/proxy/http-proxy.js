// SPDX-License-Identifier: Apache-2.0
// A proxy as one writes it with http-proxy: PORT, BACKEND. Without an agent each request has a connection of its own to
// the backend.
const { createServer } = require('node:http');
const { createProxyServer } = require('http-proxy');

const { PORT, BACKEND } = process.env;
const proxy = createProxyServer({ target: `http://127.0.0.1:${BACKEND}`, agent: false });
proxy.on('error', (error, _request, response) => response.writeHead(502).end(error.message));

createServer((request, response) => proxy.web(request, response)).listen(Number(PORT), '127.0.0.1');
