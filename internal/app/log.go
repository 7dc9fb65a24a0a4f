package app

import (
	"io"
	"log/slog"
	"os"

	"golang.org/x/term"
)

// NewLog returns a logger that writes text on a terminal and JSON otherwise,
// unless format says which.
func NewLog(w io.Writer, level, format string) *slog.Logger {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		l = slog.LevelInfo
	}
	options := &slog.HandlerOptions{Level: l}
	if f, ok := w.(*os.File); format == "text" || format != "json" && ok && term.IsTerminal(int(f.Fd())) {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}
