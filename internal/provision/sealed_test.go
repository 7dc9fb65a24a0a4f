package provision

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// lid is a Sealer whose keeping and opening go as a test says.
type lid struct {
	password string
	keep     error
	open     error
}

func (l lid) Keep(sealed string) ([]byte, error)      { return []byte(sealed), l.keep }
func (l lid) Kept([]byte) bool                        { return true }
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
	plain, repeating := `{"name":"n"}`, `{"name":"n","tags":[{"key":"k","value":"is `+canary+`"}]}`
	for what, c := range map[string]struct {
		lid   lid
		spec  string
		class Class
	}{
		"good":              {lid{password: canary}, plain, ""},
		"too short":         {lid{password: "C4n~y"}, plain, ClassInvalid},
		"empty":             {lid{}, plain, ClassInvalid},
		"repeated":          {lid{password: canary}, repeating, ClassInvalid},
		"sealed for others": {lid{open: errors.New("not ours")}, plain, ClassNotSent},
		"broken":            {lid{open: fmt.Errorf("cut: %w", ErrSealBroken)}, plain, ClassInvalid},
	} {
		t.Run(what, func(t *testing.T) {
			creator := Creator{Sealer: c.lid, Health: quietHealth()}
			spec, err := readSpec([]byte(c.spec))
			if err != nil {
				t.Fatal(err)
			}
			password, err := creator.open(CreateClaim{SealedPassword: []byte("x")}, spec)
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

// A password that no worker can open ends its request after some minutes, because
// the same id cannot be published again as long as it waits.
func TestAPasswordThatNobodyOpensEndsTheRequest(t *testing.T) {
	p := DefaultPolicy()
	creator := Creator{Sealer: lid{open: errors.New("not ours")}, Health: quietHealth()}
	claim := CreateClaim{SealedPassword: []byte("x")}
	waited := time.Duration(0)
	for claim.Attempt = 1; ; claim.Attempt++ {
		_, err := creator.open(claim, storedSpec{})
		r := p.AfterCreate(claim, Created{}, err)
		if r.Next.State == Failed {
			break
		}
		waited += r.Next.Delay
		claim.LastCode, claim.LastClass, claim.Repeats = r.Failure.Code, r.Failure.Class, claim.Attempt
	}
	if waited < 2*time.Minute || waited > 15*time.Minute {
		t.Errorf("it ended after %v and %d tries", waited, claim.Attempt)
	}
	if len(creator.Health.Problems()) != 1 {
		t.Error("/readyz does not tell")
	}
}
