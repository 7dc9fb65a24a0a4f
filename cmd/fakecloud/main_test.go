package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"ddsworker/internal/dds/ddsfake"
)

// run is a command line; it returns what was printed.
func run(ctx context.Context, args ...string) (stdout, stderr string, err error) {
	var out, errs bytes.Buffer
	err = execute(ctx, args, &out, &errs)
	return out.String(), errs.String(), err
}

// start serves on a free port until the test ends, and returns the address.
func start(t *testing.T, cfg ddsfake.Config) (addr string, stop func() error) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	cfg.Logger = slog.New(slog.DiscardHandler)
	go func() { done <- serveOn(ctx, listener, cfg) }()
	stopped := false
	stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-done
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return listener.Addr().String(), stop
}

func TestHealth(t *testing.T) {
	addr, stop := start(t, ddsfake.Config{})
	out, _, err := run(t.Context(), "health", "--addr", addr)
	if err != nil || out != "ok\n" {
		t.Fatalf("got %q and %v, want ok", out, err)
	}
	_, port, _ := net.SplitHostPort(addr)
	t.Setenv("FAKECLOUD_ADDR", "0.0.0.0:"+port) // as a container is told where to listen
	if _, _, err := run(t.Context(), "health"); err != nil {
		t.Errorf("asked by the environment's address: %v", err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := run(t.Context(), "health", "--addr", addr); err == nil || !strings.Contains(err.Error(), addr) {
		t.Errorf("got %v, want an error that names the address", err)
	}
}

func TestServeUntilTold(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	reader, log := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- execute(ctx, []string{"--addr=127.0.0.1:0", "--users=someone:Top:Secret@1@home", "--log-level=debug"}, io.Discard, log)
		_ = log.Close()
	}()
	lines := bufio.NewScanner(reader)
	if !lines.Scan() {
		t.Fatalf("no log line; the command ended with %v", <-done)
	}
	_, rest, _ := strings.Cut(lines.Text(), "addr=")
	addr, _, _ := strings.Cut(rest, " ")
	all := lines.Text()
	go func() { // the log is read to its end below, so the call must not wait for this goroutine
		defer cancel()
		if resp, err := http.Post("http://"+addr+"/v3/auth/tokens", "application/json", strings.NewReader(
			`{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"someone","password":"Top:Secret@1","domain":{"name":"home"}}}}}}`)); err != nil {
			t.Error(err)
		} else if _ = resp.Body.Close(); resp.StatusCode != http.StatusCreated {
			t.Errorf("login: %s", resp.Status)
		}
	}()
	for lines.Scan() {
		all += "\n" + lines.Text()
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if !strings.Contains(all, "op=login") || !strings.Contains(all, "stopping") || strings.Contains(all, "Secret") {
		t.Errorf("the log is %s", all)
	}
}

func TestStoppingCutsOffCallsThatHang(t *testing.T) {
	cloudAddr, stop := start(t, ddsfake.Config{Faults: ddsfake.Faults{ddsfake.OpLogin: {ddsfake.HangBefore: 1}}})
	failed := make(chan error, 1)
	go func() {
		resp, err := http.Post("http://"+cloudAddr+"/v3/auth/tokens", "application/json", strings.NewReader("{}"))
		if err == nil {
			_ = resp.Body.Close()
		}
		failed <- err
	}()
	waitFor(t, cloudAddr, func(s ddsfake.Stats) bool { return s.Concurrent == 1 })
	started := time.Now()
	if err := stop(); err != nil {
		t.Error(err)
	}
	if err := <-failed; err == nil {
		t.Error("the hanging call got an answer")
	}
	if took := time.Since(started); took > stopGrace+time.Second {
		t.Errorf("stopping took %v", took)
	}
}

// waitFor asks for the counters until they are as wanted.
func waitFor(t *testing.T, addr string, wanted func(ddsfake.Stats) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		resp, err := http.Get("http://" + addr + "/__stats")
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		var s ddsfake.Stats
		if err := json.Unmarshal(raw, &s); err != nil {
			t.Fatal(err)
		}
		if err == nil && wanted(s) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("the counters are %+v", s)
		}
	}
}

func TestLargeTokenPassesTheServer(t *testing.T) {
	addr, _ := start(t, ddsfake.Config{})
	for size, status := range map[int]int{32 << 10: 401, 64 << 10: 494} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/v3/p/instances", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Auth-Token", strings.Repeat("x", size))
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != status {
			t.Errorf("a token of %d bytes got %s, want %d", size, resp.Status, status)
		}
	}
}

// Every field of Config but its logger can be set from the command line.
func TestFlagsReachEveryField(t *testing.T) {
	var c cli
	parser, err := newParser(&c, io.Discard, io.Discard, func() {})
	if err != nil {
		t.Fatal(err)
	}
	_, err = parser.Parse(strings.Fields(`--dialect=otc --users=u:p:w@1@d --projects=p1=n1,p2=n2 --regions=r --zones=a,b;c --vpcs=v
		--subnets=s --security-groups=g --keys=k --specs=c --sold-out=o --quota=Single=3 --no-enterprise-projects --unknown-id=empty
		--iam-errors=huawei --login-latency=1s --create-latency=1s --list-lag=1s --slow-jobs=0.1 --jobs-by-mode --clock-offset=1s --throttle=5 --throttle-projects=p1=1 --throttle-account=9
		--faults=create:drop-after=0.1,any:429-gateway=0.2 --seed=9`))
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := c.Serve.Cloud.config()
	if err != nil {
		t.Fatal(err)
	}
	v := reflect.ValueOf(cfg)
	for i := range v.NumField() {
		if name := v.Type().Field(i).Name; v.Field(i).IsZero() && name != "Logger" {
			t.Errorf("%s cannot be set", name)
		}
	}
	if want := (ddsfake.User{Name: "u", Password: "p:w@1", Domain: "d"}); cfg.Users[0] != want {
		t.Error("the user was read wrongly")
	}
	if len(cfg.Zones) != 2 || cfg.Zones[0] != "a,b" {
		t.Errorf("zones are %q, want the list a,b and c", cfg.Zones)
	}
	if cfg.Faults[ddsfake.OpAny][ddsfake.Throttled] != 0.2 {
		t.Errorf("faults are %v", cfg.Faults)
	}
}

func TestBadFlags(t *testing.T) {
	for want, args := range map[string][]string{
		"unknown flag --bogus":      {"--bogus"},
		"dialect \"aws\"":           {"--dialect=aws"},
		"speed -2":                  {"--speed=-2"},
		"explode":                   {"--faults=create:explode=0.1"},
		"CALL:KIND=CHANCE":          {"--faults=create=0.1"},
		"chance 2":                  {"--faults=create:drop-after=2"},
		"NAME:PASSWORD@DOMAIN":      {"--users=name:Secret"},
		"less than job min":         {"--job-min=1h"},
		"cannot listen on nonsense": {"--addr=nonsense"},
		"is not HOST:PORT":          {"health", "--addr=nonsense"},
	} {
		_, _, err := run(t.Context(), args...)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want an error with %q", args, err, want)
		} else if strings.Contains(err.Error(), "Secret") {
			t.Errorf("%q: the error shows the password", args)
		}
	}
}

func TestHelpIsNoError(t *testing.T) {
	out, _, err := run(t.Context(), "serve", "--help")
	if err != nil || !strings.Contains(out, "FAKECLOUD_ADDR") {
		t.Errorf("got %.80q and %v, want the flags with their variables", out, err)
	}
}
