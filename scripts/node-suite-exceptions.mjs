// SPDX-License-Identifier: Apache-2.0
// Tests of Node's own that fail with the hook and not without it, each with its reason. One that passes again has to go
// from here: node-suite.mjs fails then.

/**
 * `groups`: with which FASTSOCKET_TEST_GROUPS it fails ('none': without it); `versions`: of Node, all where it is left out.
 * @type {{ test: string, groups: string[], versions?: number[], reason: string }[]}
 */
export const EXCEPTIONS = [];
