// SPDX-License-Identifier: Apache-2.0
// The same server wrapped in node:cluster: WORKERS; PIN keeps each to a CPU of its own, as the hook does.
// NODE_CLUSTER_SCHED_POLICY is Node's own.
const { execFileSync } = require('node:child_process');
const cluster = require('node:cluster');

const { PIN, WORKERS } = process.env;

if (cluster.isPrimary) for (let i = Number(WORKERS); i > 0; i--) cluster.fork();
else {
  // the thread of the event loop alone: V8 has started its own by now
  if (PIN)
    execFileSync('taskset', ['-pc', `${cluster.worker.id - 1}`, `${process.pid}`], { stdio: 'ignore' });
  require('./server.js');
}
