// SPDX-License-Identifier: Apache-2.0
// What a proxy has to be wrapped in to use node:cluster, with Node's default policy (round robin): PROXY, WORKERS.
const cluster = require('node:cluster');

const { PROXY, WORKERS } = process.env;
if (cluster.isPrimary) for (let i = Number(WORKERS); i > 0; i--) cluster.fork();
else require(PROXY);
