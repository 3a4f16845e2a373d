// SPDX-License-Identifier: Apache-2.0
// What an application has to be wrapped in to use node:cluster, with Node's default policy (round robin).

const cluster = require('node:cluster');
const { availableParallelism } = require('node:os');

if (cluster.isPrimary) {
  for (let i = 0; i < availableParallelism(); i++) cluster.fork();
} else {
  require('./app.js');
}
