// SPDX-License-Identifier: Apache-2.0
// The smallest HTTP server: PORT, HOST.
require('node:http')
  .createServer((_request, response) => response.end('hello'))
  .listen(Number(process.env.PORT), process.env.HOST ?? '127.0.0.1');
