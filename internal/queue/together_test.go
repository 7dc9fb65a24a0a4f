package queue

import (
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

// Of two workers of different fleets that set up the same streams at the same
// time, one is refused, whatever the streams were before.
func TestSetupTogether(t *testing.T) {
	recipients, installations := [2]Layout{testLayout(), testLayout()}, [2]Layout{testLayout(), testLayout()}
	for n, name := range []string{"one", "two"} {
		recipients[n].Recipients = []string{"age1" + name}
		installations[n].Installation = name
	}
	replacing := recipients
	for n := range replacing {
		replacing[n].ReplaceRecipient = true
	}
	// has is a layout's stream of requests; the other streams are missing.
	has := func(change func(*Layout)) *jetstream.StreamConfig {
		l := testLayout()
		change(&l)
		return &l.streams()[0]
	}
	for what, c := range map[string]struct {
		before  *jetstream.StreamConfig // nil: no stream
		layouts [2]Layout
	}{
		"recipients, no stream":         {nil, recipients},
		"recipients, none before":       {has(func(*Layout) {}), recipients},
		"recipients, replacing another": {has(func(l *Layout) { l.Recipients = []string{"age1old"} }), replacing},
		"installations, no stream":      {nil, installations},
		"installations, none before":    {has(func(l *Layout) { l.Installation = "" }), installations},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			for n := range 6 {
				t.Run(fmt.Sprint(n), func(t *testing.T) { race(t, c.before, c.layouts) })
			}
		})
	}
}

// race has two set up a new server at once, which has one stream or none.
func race(t *testing.T, before *jetstream.StreamConfig, layouts [2]Layout) {
	t.Helper()
	url := startServer(t, t.TempDir(), 0).ClientURL()
	clients := [2]jetstream.JetStream{connect(t, url), connect(t, url)}
	if before != nil {
		if _, err := clients[0].CreateStream(t.Context(), *before); err != nil {
			t.Fatal(err)
		}
	}
	start, ended := make(chan struct{}), [2]chan error{make(chan error, 1), make(chan error, 1)}
	for n := range clients {
		go func() {
			<-start
			ended[n] <- Setup(t.Context(), clients[n], layouts[n])
		}()
	}
	close(start)
	errs := [2]error{<-ended[0], <-ended[1]}
	winner := 0
	if errs[0] != nil {
		winner = 1
	}
	if errs[winner] != nil || !errors.Is(errs[1-winner], ErrDiffers) {
		t.Errorf("one should pass and the other be refused:\n%v\n%v", errs[0], errs[1])
	}
	if err := Check(t.Context(), clients[0], layouts[winner]); err != nil {
		t.Errorf("the streams are not those of the one that passed: %v", err)
	}
}
