package seal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"

	"ddsworker/internal/provision"
)

// maxAge bounds a file of age that holds a password, in bytes. Three hundred are
// usual; every further recipient takes a hundred.
const maxAge = 4 << 10

// For seals a password for the holder of a recipient's identity, in the text form
// that age gives its files ("age --armor" makes the same).
func For(recipient string, password provision.Secret) (string, error) {
	r, err := ParseRecipient(recipient)
	if err != nil {
		return "", err
	}
	var text bytes.Buffer
	lines := armor.NewWriter(&text)
	file, err := age.Encrypt(lines, r)
	if err != nil {
		return "", fmt.Errorf("seal with age: %w", err)
	}
	_, err = io.WriteString(file, password.Reveal())
	if err := errors.Join(err, file.Close(), lines.Close()); err != nil {
		return "", fmt.Errorf("seal with age: %w", err)
	}
	return text.String(), nil
}

// ParseRecipient reads a recipient like age1….
func ParseRecipient(text string) (*age.X25519Recipient, error) {
	r, err := age.ParseX25519Recipient(text)
	if err != nil {
		// It is not shown: people take the identity itself for it.
		return nil, errors.New("that is no recipient of age: age1 and 58 letters and digits are wanted, as 'worker keygen' prints them")
	}
	return r, nil
}

// Recipients are those of the box's identities, the one to seal for first.
func (b *Box) Recipients() []string {
	var all []string
	for _, x := range b.identities {
		all = append(all, x.Recipient().String())
	}
	return all
}

// Keep implements provision.Sealer.
func (b *Box) Keep(sealed string) ([]byte, error) {
	file, err := io.ReadAll(io.LimitReader(armor.NewReader(strings.NewReader(sealed)), maxAge+1))
	switch {
	case err != nil:
		return nil, errors.New("a file of age in its text form, as 'age --armor' makes it: -----BEGIN AGE ENCRYPTED FILE----- …")
	case len(file) > maxAge:
		return nil, fmt.Errorf("a file of age of at most %d bytes", maxAge)
	}
	header, err := age.ExtractHeader(bytes.NewReader(file))
	if err != nil {
		return nil, errors.New("a file of age, version 1; this one has no header that can be read")
	}
	if !bytes.Contains(header, []byte("\n-> X25519 ")) {
		return nil, errors.New("a file of age that is sealed for a recipient like age1… ('age --armor -r age1…'), not with a passphrase or another kind of key")
	}
	return append([]byte{schemeAge}, file...), nil
}

// Kept implements provision.Sealer.
func (b *Box) Kept(sealed []byte) bool { return len(sealed) > 0 && sealed[0] == schemeAge }

// wayOut of a password that cannot be opened here.
const wayOut = "give all workers the same SECRETS_IDENTITY_FILE; if that identity is lost, or was never ours, publish the request under a new id with enqueue"

// openAge opens what a publisher sealed. It is bound to no request: a publisher
// that seals need not know the request's id.
func (b *Box) openAge(file []byte) (provision.Secret, error) {
	identities := make([]age.Identity, len(b.identities))
	for i, x := range b.identities {
		identities[i] = x
	}
	plain, err := age.Decrypt(bytes.NewReader(file), identities...)
	if _, foreign := errors.AsType[*age.NoIdentityMatchError](err); foreign {
		return provision.Secret{}, errors.New("it is sealed for a recipient whose identity this worker does not hold: " + wayOut)
	}
	if err != nil {
		return provision.Secret{}, fmt.Errorf("%w: it is no file of age that can be read, or was changed", provision.ErrSealBroken)
	}
	text, err := io.ReadAll(plain)
	if err != nil {
		return provision.Secret{}, fmt.Errorf("%w: it was cut or changed", provision.ErrSealBroken)
	}
	return provision.NewSecret(string(text)), nil
}
