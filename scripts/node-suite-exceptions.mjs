// SPDX-License-Identifier: Apache-2.0
// Tests of Node's own that fail with the hook and not without it, each with its reason. One that passes again has to go
// from here: node-suite.mjs fails then.

const QUEUED_AT_CLOSE =
  'close() accepts what waits in the queue, where plain Node resets it. The test has destroyed all connections that it knows of before: the last one is left, whose client has not gone and is ended by that reset alone';
const OWN_CLUSTER = 'it forks cluster workers, which it does not as one';
const CLOSED_LATER =
  'the port is free when the origin has closed its sockets, too, which it does here when it hears of the close() in the worker';
const AS_IN_CLUSTER = "in a worker that plain Node's cluster has forked it fails in the same way";
const HANDSHAKES =
  "'close' comes when handshakes that were under way have had 300 ms for their last step; the test wants it in the next turn";

/**
 * `groups`: with which FASTSOCKET_TEST_GROUPS it fails ('none': without it); `versions`: of Node, all where it is left out.
 * @type {{ test: string, groups: string[], versions?: number[], reason: string }[]}
 */
export const EXCEPTIONS = [
  {
    test: 'parallel/test-net-connect-abort-controller.js',
    groups: ['held', 'worker'],
    reason: QUEUED_AT_CLOSE,
  },
  { test: 'parallel/test-dgram-bind-fd-error.js', groups: ['worker'], reason: AS_IN_CLUSTER },
  { test: 'parallel/test-dgram-cluster-close-during-bind.js', groups: ['worker'], reason: OWN_CLUSTER },
  { test: 'parallel/test-dgram-exclusive-implicit-bind.js', groups: ['worker'], reason: OWN_CLUSTER },
  { test: 'parallel/test-dgram-recv-error.js', groups: ['worker'], reason: AS_IN_CLUSTER },
  { test: 'sequential/test-dgram-bind-shared-ports.js', groups: ['worker'], reason: OWN_CLUSTER },
  { test: 'sequential/test-net-listen-shared-ports.js', groups: ['worker'], reason: OWN_CLUSTER },
  { test: 'parallel/test-net-listen-exclusive-random-ports.js', groups: ['worker'], reason: OWN_CLUSTER },
  { test: 'parallel/test-net-listen-handle-in-cluster-1.js', groups: ['worker'], reason: OWN_CLUSTER },
  { test: 'parallel/test-net-socket-constructor.js', groups: ['worker'], reason: OWN_CLUSTER },
  { test: 'parallel/test-http2-allow-http1.js', groups: ['held'], reason: HANDSHAKES },
  { test: 'parallel/test-tls-ticket-cluster.js', groups: ['worker'], reason: OWN_CLUSTER },
  { test: 'sequential/test-net-connect-econnrefused.js', groups: ['worker'], reason: CLOSED_LATER },
];
