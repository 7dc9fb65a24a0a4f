package ddsfake

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"regexp"
)

// Endings of ids, dds-api.md §2.5.
const (
	instanceSuffix         = "in02"
	enhancedInstanceSuffix = "in10"
	nodeSuffix             = "no02"
	groupSuffix            = "gr02"
)

// Forms that the service checks strictly.
var (
	uuidForm          = regexp.MustCompile(`^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$`)
	instanceIDForm    = regexp.MustCompile(`^[0-9a-f]{32}in(02|10)$`)
	configurationForm = regexp.MustCompile(`^[0-9a-f]{32}pr02$`)
)

func hex32() string { return fmt.Sprintf("%016x%016x", rand.Uint64(), rand.Uint64()) }

func uuid4() string {
	a, b := rand.Uint64(), rand.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-%04x-%012x", a>>32, a>>16&0xffff, a&0xfff, b>>48&0x3fff|0x8000, b&0xffffffffffff)
}

// derived is an id that is the same each time it is computed from the same name.
func derived(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:16])
}

// newToken looks like IAM's: MII and 2 to 8 kB in all, dds-api.md §1.2.
func newToken() string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-"
	token := make([]byte, 2048+rand.IntN(6*1024))
	copy(token, "MII")
	for i := 3; i < len(token); {
		for bits := rand.Uint64(); bits != 0 && i < len(token); bits >>= 6 {
			token[i] = alphabet[bits&63]
			i++
		}
	}
	return string(token)
}
