package provision

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// lid is a Sealer whose keeping and opening go as a test says.
type lid struct {
	password string
	keep     error
	open     error
}

func (l lid) Keep(sealed string) ([]byte, error)      { return []byte(sealed), l.keep }
func (l lid) Open([]byte, string) (Secret, error)     { return NewSecret(l.password), l.open }
func (l lid) Seal(p Secret, _ string) ([]byte, error) { return []byte("sealed at the door"), nil }

// What a publisher sealed is kept as it came, and unsealed by nobody at the door.
func TestSealedPasswordsAtTheDoor(t *testing.T) {
	clear := edited(t, "single")
	sealed := edited(t, "single", "password=", `sealed_password="a letter"`)
	for what, c := range map[string]struct {
		body    []byte
		require bool
		keep    error
		kept    string // empty: refused
		says    string
	}{
		"in the clear":                    {body: clear, kept: "sealed at the door"},
		"in the clear, which is required": {body: clear, require: true, says: "enqueue"},
		"sealed":                          {body: sealed, kept: "a letter"},
		"sealed, which is required":       {body: sealed, require: true, kept: "a letter"},
		"sealed, but not for us":          {body: sealed, keep: errors.New("a file of age"), says: "a file of age"},
	} {
		t.Run(what, func(t *testing.T) {
			in := testIntake(nil)
			in.RequireSealed, in.Sealer = c.require, lid{keep: c.keep}
			i := in.read(Message{ID: "a", Body: c.body})
			switch {
			case c.kept != "":
				if i.rejected != nil || string(i.request.SealedPassword) != c.kept || strings.Contains(string(i.request.Spec), "letter") {
					t.Errorf("%+v, rejected: %+v", i.request, i.rejected)
				}
			case i.rejected == nil || i.rejected.Code != CodeRules || !strings.Contains(i.rejected.Reasons.Error(), c.says):
				t.Errorf("rejected: %+v", i.rejected)
			case strings.Contains(string(i.rejected.Body), "letter"):
				t.Errorf("the rejection holds what was sealed: %s", i.rejected.Body)
			}
		})
	}
}

// A password that nobody saw before is checked before the call.
func TestAnOpenedPasswordIsChecked(t *testing.T) {
	for what, c := range map[string]struct {
		lid   lid
		class Class
	}{
		"good":              {lid{password: canary}, ""},
		"too short":         {lid{password: "C4n~y"}, ClassInvalid},
		"empty":             {lid{}, ClassInvalid},
		"sealed for others": {lid{open: errors.New("not ours")}, ClassNotSent},
		"broken":            {lid{open: fmt.Errorf("cut: %w", ErrSealBroken)}, ClassInvalid},
	} {
		t.Run(what, func(t *testing.T) {
			creator := Creator{Sealer: c.lid}
			password, err := creator.open(CreateClaim{SealedPassword: []byte("x")})
			if c.class == "" {
				if err != nil || password.Reveal() != canary {
					t.Errorf("%v", err)
				}
				return
			}
			if err == nil || AsCloudError(err).Class != c.class || c.lid.password != "" && strings.Contains(err.Error(), c.lid.password) {
				t.Errorf("%v", err)
			}
		})
	}
}
