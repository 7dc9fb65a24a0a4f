package queue

import (
	"errors"
	"strings"
	"testing"
)

func TestRecipients(t *testing.T) {
	const lost = `publishes the recipient "age1old", whose identity is not in this worker's SECRETS_IDENTITY_FILE`
	cases := []struct {
		name       string
		published  string
		recipients []string
		replace    bool
		check      string // what Check says; empty: it passes
		setup      string // what Setup says
		after      string // what is published after Setup
	}{
		{name: "none is known", published: "", after: ""},
		{name: "one that this worker need not know", published: "age1old", after: "age1old"},
		{name: "the first", recipients: []string{"age1new"}, check: "publishes no recipient", after: "age1new"},
		{name: "as it is", published: "age1new", recipients: []string{"age1new", "age1old"}, after: "age1new"},
		{name: "rotated", published: "age1old", recipients: []string{"age1new", "age1old"}, after: "age1new"},
		{name: "another fleet's", published: "age1old", recipients: []string{"age1new"}, check: lost, setup: lost, after: "age1old"},
		{name: "a lost one", published: "age1old", recipients: []string{"age1new"}, replace: true, check: lost, after: "age1new"},
	}
	js := connect(t, "")
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			before := testLayout()
			if c.published != "" {
				before.Recipients = []string{c.published}
			}
			if err := Setup(t.Context(), js, before); err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := js.DeleteStream(deadline(t), RequestsStream); err != nil {
					t.Fatal(err)
				}
			}()
			l := testLayout()
			l.Recipients, l.ReplaceRecipient = c.recipients, c.replace
			says(t, "Check", Check(t.Context(), js, l), c.check, c.check == lost)
			says(t, "Setup", Setup(t.Context(), js, l), c.setup, c.setup == lost)
			if got, err := Recipient(t.Context(), js); err != nil || got != c.after {
				t.Errorf("published after Setup: %q, %v; want %q", got, err, c.after)
			}
			if have := config(t, js, RequestsStream); have.Metadata[installationKey] != "here" {
				t.Errorf("the installation is lost: %v", have.Metadata)
			}
			if have := config(t, js, EventsStream); have.Metadata[recipientKey] != "" {
				t.Errorf("another stream publishes it too: %v", have.Metadata)
			}

			l.Installation = "there"
			if err := Adopt(t.Context(), js, l); err != nil {
				t.Fatal(err)
			}
			if have := config(t, js, RequestsStream); have.Metadata[installationKey] != "there" || have.Metadata[recipientKey] != c.after {
				t.Errorf("after Adopt: %v", have.Metadata)
			}
			l.Installation = "here"
			if err := Adopt(t.Context(), js, l); err != nil {
				t.Fatal(err)
			}
		})
	}
	if _, err := Recipient(t.Context(), js); err == nil || !strings.Contains(err.Error(), "worker migrate") {
		t.Errorf("Recipient without a stream: %v; it should name `worker migrate`", err)
	}
}

// What is said about a recipient of somebody else names all that it may come from.
func TestForeignRecipientIsExplained(t *testing.T) {
	js := connect(t, "")
	l := testLayout()
	l.Recipients = []string{"age1theirs\nforged line"}
	if err := Setup(t.Context(), js, l); err != nil {
		t.Fatal(err)
	}
	l.Recipients = []string{"age1ours"}
	err := Setup(t.Context(), js, l)
	if err == nil {
		t.Fatal("it passes")
	}
	for _, words := range []string{"after a rotation run `worker migrate` with both identities in the file", "identity is lost",
		"somebody changed the stream", "worker migrate --replace-recipient"} {
		if !strings.Contains(err.Error(), words) {
			t.Errorf("%v\nshould say %q", err, words)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("what the stream says breaks the line: %v", err)
	}
}

// says compares an error with what it should say.
func says(t *testing.T, what string, err error, want string, differs bool) {
	t.Helper()
	if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) || errors.Is(err, ErrDiffers) != differs {
		t.Errorf("%s: %v; want %q, and an ErrDiffers: %v", what, err, want, differs)
	}
}
