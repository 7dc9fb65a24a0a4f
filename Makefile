# "make" lists what there is. Needs Go and git; "make test" gets what else it needs, or says what to install.

FUZZTIME ?= 30s
BENCH ?= compare

.PHONY: help build demo dev chaos outages crash model test lint fmt fuzz bench compose-test
.DEFAULT_GOAL := help

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

build: ## build the programs into bin/
	CGO_ENABLED=0 go build -trimpath -o bin/ ./cmd/...

demo: ## watch the documented requests go through a whole system on this machine
	go run ./cmd/dev demo

dev: ## run a whole system on this machine, until Ctrl-C
	go run ./cmd/dev

crash: ## stop a worker at each side effect, and at each two, in all dialects (takes long)
	go test ./internal/crash -run TestDie -timeout 4h -v -crash.all

model: ## let workers live through FAULTS (100000) faults in memory
	go test ./internal/model -timeout 1h -v -model.faults $(or $(FAULTS),100000)

test: ## check everything: gofmt, go vet, staticcheck, the tests with the race detector
	@scripts/test.sh

chaos: ## break a whole system everywhere at once: CHAOS_REQUESTS=5000 CHAOS_FAULTS=500 CHAOS_SEED=random
	@go run ./internal/chaos/run chaos

outages: ## let one part after the other fail for OUTAGE_SECONDS (30) under load: OUTAGES is a pattern of names
	@go run ./internal/chaos/run outages

lint: ## check the form only: gofmt, go vet, staticcheck
	@scripts/lint.sh

fmt: ## format the Go files
	gofmt -w .

fuzz: ## run every fuzz target for FUZZTIME (30s)
	@FUZZTIME=$(FUZZTIME) scripts/fuzz.sh

bench: ## measure beside the floor, a plain worker and River (BENCH="compare --help")
	@cd bench && go run . $(BENCH)

compose-test: ## send a request through docker-compose.yml and look at its history
	@scripts/compose-smoke.sh
