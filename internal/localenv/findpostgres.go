package localenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// installLimit bounds an installation by apt-get.
const installLimit = 5 * time.Minute

// postgresPlaces are the directories of Postgres's programs that packages keep
// out of PATH: Debian's, Red Hat's, Homebrew's on both kinds of Mac, Postgres.app's.
var postgresPlaces = []string{
	"/usr/lib/postgresql/*/bin",
	"/usr/pgsql-*/bin",
	"/opt/homebrew/opt/postgresql*/bin",
	"/usr/local/opt/postgresql*/bin",
	"/Applications/Postgres.app/Contents/Versions/*/bin",
}

// findPostgres returns the directory that holds initdb and postgres, and
// installs them first if there are none.
func findPostgres(ctx context.Context, opts Options) (string, error) {
	if bin := lookPostgres(postgresPlaces); bin != "" {
		return bin, nil
	}
	_, err := exec.LookPath("apt-get")
	if os.Geteuid() != 0 || err != nil {
		return "", errors.New("no PostgreSQL was found on this machine; install it, version 15 or newer " +
			"(Debian and Ubuntu: apt-get install postgresql; macOS: brew install postgresql@17)")
	}
	// Test packages run side by side, but only one apt-get can.
	ctx, cancel := context.WithTimeout(ctx, installLimit)
	defer cancel()
	unlock, err := Lock(ctx, "apt")
	if err != nil {
		return "", err
	}
	defer unlock()
	if bin := lookPostgres(postgresPlaces); bin != "" {
		return bin, nil
	}
	if err := aptInstall(ctx, opts, "postgresql"); err != nil {
		return "", err
	}
	if bin := lookPostgres(postgresPlaces); bin != "" {
		return bin, nil
	}
	return "", errors.New("apt-get installed postgresql, but initdb and postgres are in no known place; add their directory to PATH")
}

// lookPostgres prefers what is on PATH, then the newest version in places.
func lookPostgres(places []string) string {
	if initdb, err := exec.LookPath("initdb"); err == nil {
		if bin := filepath.Dir(initdb); hasPostgres(bin) {
			return bin
		}
	}
	var found []string
	for _, pattern := range places {
		dirs, _ := filepath.Glob(pattern) // The only error is a malformed pattern.
		found = append(found, slices.DeleteFunc(dirs, func(dir string) bool { return !hasPostgres(dir) })...)
	}
	if len(found) == 0 {
		return ""
	}
	return slices.MaxFunc(found, func(a, b string) int { return versionOf(a) - versionOf(b) })
}

func hasPostgres(dir string) bool {
	for _, name := range []string{"initdb", "postgres"} {
		if _, err := exec.LookPath(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

var majorVersion = regexp.MustCompile(`(\d+)[^/]*/bin$`)

// versionOf reads the major version from a directory such as /usr/lib/postgresql/15/bin; 0 if it has none.
func versionOf(dir string) int {
	m := majorVersion.FindStringSubmatch(dir)
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(m[1]) // Digits; what overflows is no version.
	return n
}

func aptInstall(ctx context.Context, opts Options, pkg string) error {
	opts.logf("no PostgreSQL on this machine: installing the package %s with apt-get", pkg)
	for _, args := range [][]string{
		{"update", "-qq"},
		{"install", "-y", "-qq", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=120", pkg},
	} {
		cmd := exec.CommandContext(ctx, "apt-get", args...)
		// RUNLEVEL=1 keeps the package from starting a server of its own.
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get %s for %s failed, install it by hand: %w\n%s", args[0], pkg, err, out)
		}
	}
	return nil
}

// serverCredential is the user to run Postgres as; nil is our own, which will
// do unless it is root.
func serverCredential() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, errUID := strconv.ParseUint(u.Uid, 10, 32)
		gid, errGID := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(errUID, errGID); err != nil {
			return nil, fmt.Errorf("read the ids of user %s: %w", name, err)
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("root cannot run Postgres, and there is neither a user postgres nor nobody; add one or run as another user")
}
