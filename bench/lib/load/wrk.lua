-- SPDX-License-Identifier: Apache-2.0
-- What wrk has counted, as one line of JSON after its own report.
function done(summary)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  print(string.format('{"answered":%d,"failed":%d,"seconds":%.3f}', summary.requests, failed, summary.duration / 1e6))
end
