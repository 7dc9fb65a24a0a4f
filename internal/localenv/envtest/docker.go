package envtest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/distribution/reference"
	"github.com/moby/moby/client"

	"ddsworker/internal/localenv"
)

const (
	daemonLimit   = 3 * time.Second  // for Docker to answer; a hung daemon must not hang the tests
	registryLimit = 2 * time.Second  // for the registry to be reached at all
	pullLimit     = 20 * time.Second // for a pull, unless containers are forced
	// pullAgain is how long a failed pull is held against the image, so that
	// the packages of one run do not all wait for it.
	pullAgain = 10 * time.Minute
)

// probeDocker returns nil if a container of the image can be started, and
// prepares this process for testcontainers; otherwise it says why not.
func probeDocker(ctx context.Context, image string, forced bool) error {
	cli, err := client.New(client.FromEnv, client.WithHost(dockerHost(ctx)))
	if err != nil {
		return fmt.Errorf("the settings of Docker are not usable: %w", err)
	}
	defer cli.Close()
	quick, cancel := context.WithTimeout(ctx, daemonLimit)
	defer cancel()
	info, err := cli.Info(quick, client.InfoOptions{})
	if err != nil {
		return fmt.Errorf("no answer from Docker: %w", err)
	}
	if err := prepareTestcontainers(info.Info.Name); err != nil {
		return err
	}
	if forced || hasImage(quick, cli, image) {
		return nil // What is missing, testcontainers pulls, with the user's login.
	}
	return pull(ctx, cli, image)
}

// dockerHost is the daemon that the docker command would use; empty is the default.
func dockerHost(ctx context.Context) string {
	if host := os.Getenv("DOCKER_HOST"); host != "" {
		return host
	}
	ctx, cancel := context.WithTimeout(ctx, daemonLimit)
	defer cancel()
	out, err := exec.CommandContext(ctx, "docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}").Output()
	if host := strings.TrimSpace(string(out)); err == nil && host != "" {
		return host
	}
	return client.DefaultDockerHost
}

// prepareTestcontainers sets what testcontainers reads from the environment and
// would get wrong. Its reaper is one more image to pull, for what [keep] does as
// well; and it takes a daemon for a foreign one that runs in a container, beside us.
func prepareTestcontainers(daemonName string) error {
	settings := map[string]string{"TESTCONTAINERS_RYUK_DISABLED": "true"}
	hostname, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("ask for the name of this machine: %w", err)
	}
	if _, err := os.Stat("/.dockerenv"); err == nil && hostname == daemonName {
		settings["TESTCONTAINERS_HOST_OVERRIDE"] = "127.0.0.1"
	}
	for name, value := range settings {
		if _, set := os.LookupEnv(name); set {
			continue
		}
		if err := os.Setenv(name, value); err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	return nil
}

func hasImage(ctx context.Context, cli *client.Client, image string) bool {
	_, err := cli.ImageInspect(ctx, image)
	return err == nil
}

// pull fetches the image if its registry can be reached, without waiting long.
// Packages that are tested side by side take turns, and share a failure.
func pull(ctx context.Context, cli *client.Client, image string) error {
	id := fmt.Sprintf("pull-%x", sha256.Sum256([]byte(image)))[:16]
	unlock, err := localenv.Lock(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	if hasImage(ctx, cli, image) {
		return nil
	}
	failed := filepath.Join(os.TempDir(), fmt.Sprintf("envtest-%d-%s-failed", os.Geteuid(), id))
	if stat, err := os.Stat(failed); err == nil && time.Since(stat.ModTime()) < pullAgain {
		return fmt.Errorf("the image %s is not here and could not be pulled at %s (delete %s to try again at once)",
			image, stat.ModTime().Format(time.TimeOnly), failed)
	}
	err = pullFromRegistry(ctx, cli, image)
	if err != nil {
		return errors.Join(fmt.Errorf("the image %s is not here and cannot be pulled: %w", image, err), os.WriteFile(failed, nil, 0o600))
	}
	return nil
}

func pullFromRegistry(ctx context.Context, cli *client.Client, image string) error {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return err
	}
	registry := reference.Domain(named)
	if registry == "docker.io" {
		registry = "registry-1.docker.io"
	}
	if _, _, err := net.SplitHostPort(registry); err != nil {
		registry = net.JoinHostPort(registry, "443")
	}
	conn, err := (&net.Dialer{Timeout: registryLimit}).DialContext(ctx, "tcp", registry)
	if err != nil {
		return err
	}
	_ = conn.Close() // Only whether it opens matters.
	ctx, cancel := context.WithTimeout(ctx, pullLimit)
	defer cancel()
	progress, err := cli.ImagePull(ctx, image, client.ImagePullOptions{})
	if err != nil {
		return err
	}
	defer progress.Close()
	return progress.Wait(ctx)
}
