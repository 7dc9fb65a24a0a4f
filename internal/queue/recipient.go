package queue

import (
	"context"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go/jetstream"
)

// recipientKey holds, in the metadata of DDS_REQUESTS, the age recipient that
// publishers seal passwords for.
const recipientKey = "ddsworker-recipient"

// Recipient returns the age recipient that DDS_REQUESTS publishes, "" if it
// publishes none.
func Recipient(ctx context.Context, js jetstream.JetStream) (string, error) {
	have, err := readStream(ctx, js, RequestsStream)
	if err != nil {
		return "", err
	}
	if have == nil {
		return "", fmt.Errorf("stream %s is missing: run `worker migrate` or start a worker", RequestsStream)
	}
	return have.Metadata[recipientKey], nil
}

// verifyRecipient refuses a recipient that this worker has no identity for: it
// could not open what publishers seal.
func (l Layout) verifyRecipient(want, have jetstream.StreamConfig) error {
	there := have.Metadata[recipientKey]
	if want.Metadata[recipientKey] == "" || there == "" || slices.Contains(l.Recipients, there) || l.ReplaceRecipient {
		return nil
	}
	return fmt.Errorf("%w: stream %s publishes the recipient %.100q, whose identity is not in this worker's SECRETS_IDENTITY_FILE: "+
		"give all workers the same file; after a rotation run `worker migrate` with both identities in the file; "+
		"if that identity is lost, or somebody changed the stream to read passwords, only `worker migrate --replace-recipient` "+
		"mends it, and what was sealed for that recipient cannot be opened here", ErrDiffers, want.Name, there)
}
