// SPDX-License-Identifier: Apache-2.0
// HTTP that answers, and WebSockets that echo: PORT.
const { WebSocketServer } = require('ws');

const server = require('node:http').createServer((_request, response) => response.end('hello'));
new WebSocketServer({ server, perMessageDeflate: false }).on('connection', (socket) => {
  socket.on('message', (data, binary) => socket.send(data, { binary }));
  socket.on('error', () => {});
});
server.listen(Number(process.env.PORT), '127.0.0.1');
