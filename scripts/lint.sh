#!/bin/sh
# gofmt, go vet and staticcheck; says which of them failed.
set -u
cd "$(dirname "$0")/.." || exit 1

step() { # name, what to do about a failure, command
  name=$1 advice=$2
  shift 2
  echo "== $name"
  "$@" || { echo "FAILED: $name: $advice" >&2; exit 1; }
}

formatted() {
  files=$(gofmt -l .) || return 1
  [ -z "$files" ] || { echo "$files"; return 1; }
}

step gofmt "these files are not formatted; run make fmt" formatted
step "go vet" "see above" go vet ./...
step staticcheck "see above" go tool -modfile=tools/go.mod staticcheck ./...

cd bench || exit 1
step "go vet of bench" "see above" go vet ./...
step "staticcheck of bench" "see above" go tool -modfile=../tools/go.mod staticcheck ./...
