// SPDX-License-Identifier: Apache-2.0
// A proxy as one writes it with undici: PORT, BACKEND. Each request has a connection of its own to the backend.
const { createServer } = require('node:http');
const { Agent, request } = require('undici');

const { PORT, BACKEND } = process.env;
/** undici: with no pipelining at all a connection is not kept. */
const dispatcher = new Agent({ pipelining: 0 });

createServer(async (incoming, response) => {
  try {
    const { method, url } = incoming;
    const { statusCode, headers, body } = await request(`http://127.0.0.1:${BACKEND}${url}`, {
      dispatcher,
      method,
    });
    delete headers.connection;
    response.writeHead(statusCode, headers);
    body.pipe(response);
  } catch (error) {
    response.writeHead(502).end(error.message);
  }
}).listen(Number(PORT), '127.0.0.1');
