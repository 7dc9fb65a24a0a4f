package main

import (
	"fmt"
	"runtime/debug"
)

type versionCommand struct{}

// Run prints the version with which the program was built.
func (versionCommand) Run(p *program) error {
	version, revision := "(unknown)", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		version = info.Main.Version + " " + info.GoVersion
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = " " + s.Value
			}
		}
	}
	_, err := fmt.Fprintf(p.stdout, "enqueue %s%s\n", version, revision)
	return err
}
