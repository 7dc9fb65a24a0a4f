#!/usr/bin/env bash
# Builds the programs, brings docker-compose.yml up with them, sends one request
# through the published port of NATS, looks at its history in Postgres, and takes
# everything down again, with its volumes, whatever happened.
#
# It is a project of its own with ports of its own (SMOKE_PG_PORT,
# SMOKE_NATS_PORT, SMOKE_ADMIN_PORT, SMOKE_CLOUD_PORT), so a system that is up already is left
# alone. SMOKE_REQUEST is the file to send, by default the first of examples/.
set -euo pipefail
cd "$(dirname "$0")/.."

health_limit=180  # seconds, for all services to become healthy
request_limit=300 # seconds, for the request to reach its end

fail() {
  echo "FAILED: compose: $*" >&2
  exit 1
}

if docker compose version >/dev/null 2>&1; then
  compose=(docker compose)
elif command -v docker-compose >/dev/null; then
  compose=(docker-compose)
else
  fail "there is neither docker compose nor docker-compose; install one (Debian: docker-compose)"
fi

if [ -f .env.example ]; then
  set -a
  # shellcheck source=/dev/null
  . ./.env.example
  set +a
fi
export COMPOSE_PROJECT_NAME=ddsworker-smoke WORKER_TARGET=prebuilt
export PG_PORT=${SMOKE_PG_PORT:-15432} NATS_PORT=${SMOKE_NATS_PORT:-14222} ADMIN_PORT=${SMOKE_ADMIN_PORT:-18080} CLOUD_PORT=${SMOKE_CLOUD_PORT:-18081}
publisher_url=${NATS_URL:-nats://127.0.0.1:4222}
publisher_url=${publisher_url/:4222/:$NATS_PORT}

down() {
  "${compose[@]}" down -v --rmi local --remove-orphans >/dev/null 2>&1 || echo "compose: could not take everything down" >&2
}

logs_and_down() {
  code=$?
  [ "$code" = 0 ] || "${compose[@]}" logs --tail=50 >&2 || true
  down
  exit "$code"
}

# health of the service $1: healthy, starting, unhealthy, exited, missing, …
health() {
  local id
  id=$("${compose[@]}" ps -q "$1" 2>/dev/null | head -n 1)
  [ -n "$id" ] || { echo missing; return; }
  docker inspect -f '{{if .State.Health}}{{if .State.Running}}{{.State.Health.Status}}{{else}}exited{{end}}{{else}}{{.State.Status}} without a health check{{end}}' "$id"
}

wait_healthy() {
  local service state waiting deadline=$((SECONDS + health_limit))
  while :; do
    waiting=
    for service in $("${compose[@]}" config --services); do
      state=$(health "$service")
      [ "$state" = healthy ] || waiting+=" $service ($state)"
    done
    [ -n "$waiting" ] || return 0
    [ "$SECONDS" -lt "$deadline" ] || fail "not healthy after $health_limit s:$waiting"
    sleep 1
  done
}

in_limit() { # macOS has no timeout
  if command -v timeout >/dev/null; then timeout "$request_limit" "$@"; else "$@"; fi
}

sql() {
  # shellcheck disable=SC2016 # the container's variables
  "${compose[@]}" exec -T postgres sh -c 'psql -X -U "${POSTGRES_USER:-postgres}" -d "${POSTGRES_DB:-${POSTGRES_USER:-postgres}}" -Atc "$1"' sh "$1"
}

request=${SMOKE_REQUEST:-$(find examples -type f \( -name '*.json' -o -name '*.yaml' \) | sort | head -n 1)}
[ -n "$request" ] || fail "there is no request to send in examples/"

echo "== compose: build the programs"
CGO_ENABLED=0 GOOS=linux go build -trimpath -o bin/ ./cmd/...
enqueue=(bin/enqueue)
[ "$(go env GOHOSTOS)" = linux ] || enqueue=(go run ./cmd/enqueue)

trap logs_and_down EXIT
trap 'exit 130' INT TERM
down # what a killed run left
echo "== compose: up (${compose[*]})"
"${compose[@]}" up -d --build || fail "it did not come up; if images cannot be pulled here, make them with ci/mkimages.sh postgres nats golang"
wait_healthy
echo "== compose: all services are healthy; sending $request"
NATS_URL=$publisher_url in_limit "${enqueue[@]}" create -f "$request" --wait </dev/null || fail "the request did not become ready in $request_limit s"
history=$(sql 'SELECT state, instance_id IS NOT NULL, attempts FROM provisioning_history')
[ "$history" = 'ready|t|1' ] || fail "the history says '$history', want one request that is ready, with an instance, after one attempt: 'ready|t|1'"
echo "== compose: the history says: $history (state, has an instance, attempts)"
