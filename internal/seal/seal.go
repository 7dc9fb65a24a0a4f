// Package seal seals passwords and tokens for the database, and opens what
// publishers sealed with age. A sealed value names its scheme. What the fleet
// sealed names its key too and opens only with the same context, so that it is
// worthless when copied to another row.
package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"filippo.io/age"

	"ddsworker/internal/provision"
)

// Box holds the keys of a fleet for one use. The first seals, all of them open.
type Box struct {
	identities []*age.X25519Identity
	first      keyID
	keys       map[keyID]cipher.AEAD
}

// The uses of a fleet's identity: each has keys of its own.
const (
	usePasswords = "ddsworker sealed password"
	useTokens    = "ddsworker sealed token"
)

// The schemes of sealed values, their first byte.
const (
	// schemeAESGCM is AES-256-GCM with a random nonce under a key derived with
	// HKDF from an age identity: scheme, key id, nonce, ciphertext.
	schemeAESGCM = 1
	// schemeAge is a file of age, as a publisher sealed it: scheme, file.
	schemeAge = 2
)

// keyID tells keys apart without telling what they are.
type keyID [8]byte

const headerSize = 1 + len(keyID{})

// Load reads the age identities of a file, one a line; more than one serves
// rotation.
func Load(path string) (*Box, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the identity: %w", err)
	}
	defer f.Close()
	return New(f)
}

// New reads age identities. Its box is for the passwords of requests.
func New(r io.Reader) (*Box, error) {
	parsed, err := age.ParseIdentities(r)
	if err != nil {
		return nil, errors.New("no age identity in it: one line AGE-SECRET-KEY-1… is wanted, as 'worker keygen' makes it")
	}
	var identities []*age.X25519Identity
	for _, i := range parsed {
		x, ok := i.(*age.X25519Identity)
		if !ok {
			return nil, errors.New("only X25519 identities can seal passwords: one line AGE-SECRET-KEY-1… is wanted, as 'worker keygen' makes it")
		}
		identities = append(identities, x)
	}
	return newBox(identities, usePasswords)
}

// Tokens returns the box for what a login needs and brings.
func (b *Box) Tokens() (*Box, error) { return newBox(b.identities, useTokens) }

func newBox(identities []*age.X25519Identity, use string) (*Box, error) {
	b := &Box{identities: identities, keys: map[keyID]cipher.AEAD{}}
	for _, x := range identities {
		id, aead, err := derive(x, use)
		if err != nil {
			return nil, err
		}
		if len(b.keys) == 0 {
			b.first = id
		}
		b.keys[id] = aead
	}
	return b, nil
}

func derive(x *age.X25519Identity, use string) (keyID, cipher.AEAD, error) {
	public := sha256.Sum256([]byte(x.Recipient().String()))
	key, err := hkdf.Key(sha256.New, []byte(x.String()), nil, use, 32)
	if err != nil {
		return keyID{}, nil, fmt.Errorf("derive a key: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return keyID{}, nil, fmt.Errorf("derive a key: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return keyID(public[:8]), aead, err
}

// Seal implements provision.Sealer.
func (b *Box) Seal(secret provision.Secret, context string) ([]byte, error) {
	sealed := append([]byte{schemeAESGCM}, b.first[:]...)
	return b.keys[b.first].Seal(sealed, nil, []byte(secret.Reveal()), []byte(context)), nil
}

// Open implements provision.Sealer.
func (b *Box) Open(sealed []byte, context string) (provision.Secret, error) {
	switch {
	case b.Kept(sealed):
		return b.openAge(sealed[1:])
	case len(sealed) >= headerSize && sealed[0] == schemeAESGCM:
		return b.openAESGCM(sealed, context)
	}
	return provision.Secret{}, fmt.Errorf("%w: it is sealed in a way that this worker does not know", provision.ErrSealBroken)
}

func (b *Box) openAESGCM(sealed []byte, context string) (provision.Secret, error) {
	id := keyID(sealed[1:headerSize])
	aead := b.keys[id]
	if aead == nil {
		return provision.Secret{}, fmt.Errorf("it is sealed under key %x, which this worker does not hold: %s", id, wayOut)
	}
	plain, err := aead.Open(nil, nil, sealed[headerSize:], []byte(context))
	if err != nil {
		return provision.Secret{}, fmt.Errorf("%w: it does not belong here, or was changed", provision.ErrSealBroken)
	}
	return provision.NewSecret(string(plain)), nil
}

// Generate writes a new identity to path, which must not exist yet. It is
// complete and readable by its owner alone before it bears that name.
func Generate(path string) error {
	x, err := age.GenerateX25519Identity()
	if err != nil {
		return fmt.Errorf("make an identity: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("make an identity: %w", err)
	}
	var text bytes.Buffer
	fmt.Fprintf(&text, "# public key: %s\n%s\n", x.Recipient(), x)
	tmp := path + "." + rand.Text()
	if err := os.WriteFile(tmp, text.Bytes(), 0o600); err != nil {
		return fmt.Errorf("make an identity: %w", err)
	}
	defer os.Remove(tmp)
	if err := os.Link(tmp, path); err != nil { // unlike a rename it never replaces
		return fmt.Errorf("make an identity: %w", err)
	}
	return nil
}
