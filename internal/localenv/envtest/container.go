package envtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
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

// cheapLogin lets clients log in with MD5: the race detector makes SCRAM's 4,096 rounds
// take 30 ms of a processor for each connection.
var cheapLogin = map[string]string{"POSTGRES_INITDB_ARGS": "--auth-host=md5", "POSTGRES_HOST_AUTH_METHOD": "md5"}

// directLimit is how long a container on this machine may take to be reached.
const directLimit = 300 * time.Millisecond

func postgresContainer(ctx context.Context, image string) (string, func() error, error) {
	c, err := postgres.Run(ctx, image,
		postgres.WithDatabase("postgres"), postgres.WithUsername("postgres"), postgres.WithPassword(rand.Text()),
		postgres.BasicWaitStrategies(),
		testcontainers.WithEnv(cheapLogin),
		testcontainers.WithCmdArgs("-c", "fsync=off", "-c", "full_page_writes=off", "-c", "max_connections=200"),
		testcontainers.WithLogger(log.NewNoopLogger()))
	if err != nil {
		return "", nil, errors.Join(fmt.Errorf("start a container of %s: %w", image, err), testcontainers.TerminateContainer(c))
	}
	published, err := c.ConnectionString(ctx, "sslmode=disable")
	return keep(c, direct(ctx, c, published, "5432"), err)
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
	published, err := c.PortEndpoint(ctx, "4222/tcp", "nats")
	return keep(c, direct(ctx, c, published, "4222"), err)
}

// direct is the address of a container itself, where this machine reaches it (not from
// within a container, nor from a Mac), and else what it was given: Docker's proxy of a
// published port takes a tenth of a busy machine.
func direct(ctx context.Context, c testcontainers.Container, published, port string) string {
	address, err := url.Parse(published)
	if err != nil {
		return published
	}
	ip, err := c.ContainerIP(ctx)
	if err != nil || ip == "" {
		return published
	}
	address.Host = net.JoinHostPort(ip, port)
	conn, err := net.DialTimeout("tcp", address.Host, directLimit)
	if err != nil {
		return published
	}
	_ = conn.Close()
	return address.String()
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
