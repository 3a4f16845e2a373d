// SPDX-License-Identifier: Apache-2.0
// The same server wrapped in node:cluster: WORKERS. NODE_CLUSTER_SCHED_POLICY is Node's own.
const cluster = require('node:cluster');

if (cluster.isPrimary) for (let i = Number(process.env.WORKERS); i > 0; i--) cluster.fork();
else require('./server.js');
