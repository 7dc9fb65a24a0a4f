package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"ddsworker/internal/provision"
	"ddsworker/internal/queue"
	"ddsworker/internal/seal"
)

// comparisonTimeout bounds the question whether the given recipient is still the
// published one. The answer decides nothing, and a publisher that may not ask
// gets none.
const comparisonTimeout = time.Second

// checkRecipient does not show what is given: it may be the identity, which is
// secret, instead of its recipient.
func checkRecipient(given string) error {
	if given == "" {
		return nil
	}
	if _, err := seal.ParseRecipient(given); err != nil {
		return errors.New("--recipient: it is no recipient of age: age1 and 58 letters and digits are wanted, as `worker keygen` prints them")
	}
	return nil
}

// checkSealed refuses what no worker would take for a sealed password, first of
// all one in the clear.
func checkSealed(sealed string) error {
	if sealed == "" {
		return nil
	}
	if _, err := new(seal.Box).Keep(sealed); err != nil { // takes no identity
		return fmt.Errorf("sealed_password: given [redacted]; allowed: %w; a password in the clear goes into password and is sealed here", err)
	}
	return nil
}

// seal seals the passwords of all requests, or says why none is to be published.
func (p *preparation) seal(ctx context.Context, js jetstream.JetStream, warnings io.Writer, requests []request) error {
	if !slices.ContainsFunc(requests, func(r request) bool { return !r.password.IsZero() }) {
		return nil
	}
	recipient, err := p.chooseRecipient(ctx, js, warnings)
	if err != nil {
		return connectError(ctx, err, "nothing was published")
	}
	var problems []error
	for i := range requests {
		problems = append(problems, requests[i].seal(recipient, p.rules))
	}
	if err := errors.Join(problems...); err != nil {
		return exit(exitInput, "%v\nnothing was published", err)
	}
	return nil
}

// chooseRecipient returns the given recipient, or else the published one.
func (p *preparation) chooseRecipient(ctx context.Context, js jetstream.JetStream, warnings io.Writer) (string, error) {
	if p.recipient != "" {
		p.comparePublished(ctx, js, warnings)
		return p.recipient, nil
	}
	ctx, cancel := context.WithTimeout(ctx, questionTimeout)
	defer cancel()
	published, err := queue.Recipient(ctx, js)
	if err != nil {
		return "", fmt.Errorf("nothing says for whom to seal passwords: %w; or give --recipient, which `worker keygen` prints", err)
	}
	if published == "" {
		return "", fmt.Errorf("stream %s does not say for whom to seal passwords: start a worker of this version or run `worker migrate`, "+
			"or give --recipient, which `worker keygen` prints", queue.RequestsStream)
	}
	if _, err := seal.ParseRecipient(published); err != nil {
		return "", fmt.Errorf("what stream %s names to seal passwords for cannot be used: %w; somebody changed the stream: find out who, "+
			"and run `worker migrate --replace-recipient`, as for a lost identity, or give --recipient, which `worker keygen` prints",
			queue.RequestsStream, err)
	}
	return published, nil
}

// comparePublished warns if the stream publishes another recipient than the
// given one, as far as we may know.
func (p *preparation) comparePublished(ctx context.Context, js jetstream.JetStream, warnings io.Writer) {
	ctx, cancel := context.WithTimeout(ctx, comparisonTimeout)
	defer cancel()
	published, err := queue.Recipient(ctx, js)
	if err != nil || published == "" || published == p.recipient {
		return
	}
	fmt.Fprintf(warnings, "warning: passwords are sealed for %s, which was given, but stream %s names %.100q: "+
		"the workers' identity was rotated, and --recipient should follow; or somebody changed the stream, and wants to read passwords\n",
		p.recipient, queue.RequestsStream, published)
}

// seal puts the sealed password into the body, which had none until now.
func (r *request) seal(recipient string, rules provision.Rules) error {
	if r.password.IsZero() {
		return nil
	}
	sealed, err := seal.For(recipient, r.password)
	if err != nil {
		return fmt.Errorf("%v: %w", r.document, err)
	}
	body, err := withField(r.Body, "sealed_password", sealed)
	if err != nil {
		return fmt.Errorf("%v: %w", r.document, err)
	}
	if _, err := rules.Parse(body); err != nil {
		return fmt.Errorf("%v: with its password sealed, %w", r.document, err)
	}
	r.Body = body
	return nil
}

// withField returns a JSON object with one more field, before all others.
func withField(object []byte, name, text string) ([]byte, error) {
	field, err := json.Marshal(map[string]string{name: text})
	if err != nil {
		return nil, fmt.Errorf("write %s as JSON: %w", name, err)
	}
	if string(object) == "{}" {
		return field, nil
	}
	return append(append(field[:len(field)-1], ','), object[1:]...), nil
}
