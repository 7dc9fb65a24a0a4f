package envtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/log"
	"github.com/testcontainers/testcontainers-go/modules/postgres"
	"github.com/testcontainers/testcontainers-go/wait"

	"ddsworker/internal/localenv"
)

// readyLimit bounds the start of a container whose image is there.
const readyLimit = 2 * time.Minute

func postgresContainer(ctx context.Context, image string) (string, func() error, error) {
	c, err := postgres.Run(ctx, image,
		postgres.WithDatabase("postgres"), postgres.WithUsername("postgres"), postgres.WithPassword(rand.Text()),
		postgres.BasicWaitStrategies(),
		testcontainers.WithCmdArgs("-c", "fsync=off", "-c", "full_page_writes=off", "-c", "max_connections=200"),
		testcontainers.WithLogger(log.NewNoopLogger()))
	if err != nil {
		return "", nil, errors.Join(fmt.Errorf("start a container of %s: %w", image, err), testcontainers.TerminateContainer(c))
	}
	url, err := c.ConnectionString(ctx, "sslmode=disable")
	return keep(c, url, err)
}

func natsContainer(ctx context.Context, image string) (string, func() error, error) {
	c, err := testcontainers.Run(ctx, image,
		testcontainers.WithCmdArgs("-js"),
		testcontainers.WithExposedPorts("4222/tcp"),
		testcontainers.WithWaitStrategyAndDeadline(readyLimit, wait.ForLog("Server is ready"), wait.ForMappedPort("4222/tcp")),
		testcontainers.WithLogger(log.NewNoopLogger()))
	if err != nil {
		return "", nil, errors.Join(fmt.Errorf("start a container of %s: %w", image, err), testcontainers.TerminateContainer(c))
	}
	url, err := c.PortEndpoint(ctx, "4222/tcp", "nats")
	return keep(c, url, err)
}

// keep makes sure that the container goes with this process, whatever ends it
// (as far as there is a docker command to say so), and returns how to end it in good order. err is that of asking for url.
func keep(c testcontainers.Container, url string, err error) (string, func() error, error) {
	if err != nil {
		return "", nil, errors.Join(fmt.Errorf("ask for the address of a container: %w", err), testcontainers.TerminateContainer(c))
	}
	release := func() error { return nil }
	if docker, lookErr := exec.LookPath("docker"); lookErr == nil {
		release, err = localenv.Guard(`exec "$1" rm -fv "$2"`, docker, c.GetContainerID())
		if err != nil {
			return "", nil, errors.Join(err, testcontainers.TerminateContainer(c))
		}
	}
	return url, func() error {
		return errors.Join(testcontainers.TerminateContainer(c, testcontainers.StopTimeout(0)), release())
	}, nil
}
