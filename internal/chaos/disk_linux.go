package chaos

import (
	"fmt"
	"syscall"

	"ddsworker/internal/localenv"
)

// smallDisk mounts a disk of its own at dir, which only root can. release ends it,
// and so does the end of this process.
func smallDisk(dir string, bytes int64) (release func() error, err error) {
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", bytes)); err != nil {
		return nil, fmt.Errorf("mount a disk of %d bytes at %s: %w", bytes, dir, err)
	}
	unmount := func() error { return syscall.Unmount(dir, syscall.MNT_DETACH) }
	unguard, err := localenv.Guard(`umount -l "$1"`, dir)
	if err != nil {
		_ = unmount()
		return nil, err
	}
	return func() error {
		if err := unguard(); err != nil {
			return err
		}
		return unmount()
	}, nil
}
