#!/bin/sh
# The form (scripts/lint.sh) and every test, with the race detector. That one needs a C compiler: as root on
# Debian it is installed; elsewhere the tests run without it, but never if CI is set.
set -u
cd "$(dirname "$0")/.." || exit 1

compiles() { # the compiler may be there without the C library's headers
  echo '#include <stdlib.h>
int main(void) { return 0; }' | $(go env CC) -x c -o /dev/null - 2>/dev/null
}
can_race() { [ "$(go env GOOS)" = darwin ] || { [ "$(go env CGO_ENABLED)" = 1 ] && compiles; }; }

race=-race
if ! can_race && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "== no C compiler for the race detector: installing gcc with apt-get"
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends gcc libc6-dev; } >/dev/null ||
    echo "apt-get could not install gcc" >&2
fi
if ! can_race; then
  if [ -n "${CI:-}" ]; then
    echo "FAILED: the race detector needs a C compiler; install gcc and the C library's headers" >&2
    exit 1
  fi
  echo "!! WITHOUT THE RACE DETECTOR: it needs a C compiler (Debian: gcc libc6-dev)" >&2
  race=
  export CGO_ENABLED=0 # a compiler without headers would be used, and fail
fi

scripts/lint.sh || exit 1

failed() { echo "FAILED: $1: look for FAIL above" >&2; exit 1; }
# One goroutine's arithmetic over hours of virtual time: five times as long under the race detector, which sees
# the same code in all the other tests.
counted=TestTenThousandBuildsCostFewCalls
echo "== go test${race:+ $race}"
if [ -n "$race" ]; then
  go test "$race" -timeout 40m -skip "^$counted\$" ./... || failed "go test"
  go test -run "^$counted\$" ./internal/provision || failed "go test of $counted"
else
  go test -timeout 40m ./... || failed "go test"
fi
# Without the race detector, for what is measured there are other processes than the test's.
echo "== go test of bench"
(cd bench && go test ./...) || failed "go test of bench"
echo "== all tests passed"
