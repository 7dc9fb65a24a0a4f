package tokencache_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"ddsworker/internal/tokencache"
)

const canary = "MIICANARYCANARY"

func TestTokenIsNeverPrinted(t *testing.T) {
	tok := tokencache.NewToken(canary, "p1", time.Hour)
	if tok.Reveal() != canary {
		t.Fatalf("Reveal() = %q", tok.Reveal())
	}
	type holder struct{ hidden tokencache.Token }
	var printed bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		fmt.Fprintf(&printed, verb+" ", tok)
		fmt.Fprintf(&printed, verb+" ", &tok)
		fmt.Fprintf(&printed, verb+" ", holder{tok})
		fmt.Fprintf(&printed, verb+" ", []tokencache.Token{tok})
		fmt.Fprintf(&printed, verb+" ", fmt.Errorf("refused: %w", fmt.Errorf("%v", tok)))
	}
	slog.New(slog.NewTextHandler(&printed, nil)).Info("t", "token", tok, "all", holder{tok})
	slog.New(slog.NewJSONHandler(&printed, nil)).Info("t", "token", tok, "all", []any{tok})
	marshalled, err := json.Marshal(map[string]any{"t": tok, "p": &tok})
	if err != nil {
		t.Fatal(err)
	}
	printed.Write(marshalled)
	hex := fmt.Sprintf("%x", canary)
	for _, leak := range []string{canary, hex, strings.ToUpper(hex)} {
		if strings.Contains(printed.String(), leak) {
			t.Errorf("the token leaked: %s", printed.String())
		}
	}
	if got := fmt.Sprint(tok); got != "[redacted]" {
		t.Errorf("Sprint = %q", got)
	}
}

func TestZeroToken(t *testing.T) {
	var tok tokencache.Token
	if !tok.IsZero() || tok.Reveal() != "" {
		t.Errorf("the zero token has a value: %q", tok.Reveal())
	}
}
