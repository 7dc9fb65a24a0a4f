package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/user"
	"regexp"
	"strings"
	"unicode"

	"github.com/google/uuid"

	"ddsworker/internal/provision"
	"ddsworker/internal/queue"
)

// request is a document that keeps all rules.
type request struct {
	queue.Request
	document document
	name     string
	password provision.Secret // to be sealed into the body, which does not hold it; may be zero
}

// preparation is what all requests of a call have in common.
type preparation struct {
	rules          provision.Rules
	password       provision.Secret // for bodies that have none
	passwordSource string           // where it came from, for people
	ids            []string         // given ones, in the order of the requests; may be empty
	recipient      string           // given one, to seal passwords for; empty: the one that the stream publishes
	common         queue.Request    // headers
}

func (c *createCommand) preparation(p *program) (*preparation, error) {
	dialect, dialectErr := provision.ParseDialect(c.Dialect)
	password, source, passwordErr := readPassword(c.PasswordFile)
	prep := &preparation{
		rules:          provision.Rules{Dialect: dialect, AcceptUnknownFields: c.AcceptUnknownFields},
		password:       password,
		passwordSource: source,
		ids:            c.ID,
		recipient:      c.Recipient,
		common:         queue.Request{ProjectID: c.Project, RequestedBy: c.RequestedBy, Traceparent: c.Traceparent},
	}
	if prep.common.RequestedBy == "" {
		prep.common.RequestedBy = userAtHost()
	}
	if t := prep.common.Traceparent; t != "" && !traceparent.MatchString(t) {
		// The standard wants a broken trace context to be ignored.
		fmt.Fprintln(p.stderr, "TRACEPARENT is no W3C trace context and is left out")
		prep.common.Traceparent = ""
	}
	return prep, errors.Join(dialectErr, passwordErr, checkRecipient(c.Recipient),
		checkHeader("--project", prep.common.ProjectID), checkHeader("--requested-by", prep.common.RequestedBy))
}

var traceparent = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)

// readPassword returns the password that was given beside the bodies, if any.
func readPassword(file string) (password provision.Secret, source string, err error) {
	const variable, maxPasswordFile = "DDS_PASSWORD", 4 << 10
	if file == "" {
		return provision.NewSecret(os.Getenv(variable)), variable, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return provision.Secret{}, "", fmt.Errorf("password file: %w", err)
	}
	defer f.Close()
	text, err := readLimited(f, "password file "+file, maxPasswordFile)
	if err != nil {
		return provision.Secret{}, "", err
	}
	password = provision.NewSecret(strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r"))
	if password.IsZero() {
		return provision.Secret{}, "", fmt.Errorf("password file %s is empty", file)
	}
	return password, "the password file " + file, nil
}

// prepare makes requests of all documents; its error tells everything that is
// wrong with any of them.
func (p *preparation) prepare(documents []document) ([]request, error) {
	problems := []error{p.checkIDs(len(documents))}
	var all []request
	for i, d := range documents {
		body, err := p.withPassword(d)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		spec, err := p.rules.Parse(body)
		if err != nil {
			problems = append(problems, fmt.Errorf("%v: %w%s", d, err, yamlHint(d, err)))
			continue
		}
		if err := checkSealed(spec.Sealed); err != nil {
			problems = append(problems, fmt.Errorf("%v: %w", d, err))
			continue
		}
		r := request{Request: p.common, document: d, name: spec.Name, password: spec.Password}
		if r.Body = body; !r.password.IsZero() {
			r.Body = spec.JSON // the body without it
		}
		if r.ID, err = p.id(i); err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, errors.Join(problems...)
}

// withPassword returns the body with the password of the call, if there is one:
// in the clear, for the rules.
func (p *preparation) withPassword(d document) ([]byte, error) {
	var fields map[string]json.RawMessage
	if p.password.IsZero() || json.Unmarshal(d.body, &fields) != nil {
		return d.body, nil
	}
	for _, name := range []string{"password", "sealed_password"} {
		if _, own := fields[name]; own {
			return nil, fmt.Errorf("%v: it has a %s, and %s gives another: remove one of them", d, name, p.passwordSource)
		}
	}
	return withField(d.body, "password", p.password.Reveal())
}

// yamlHint explains the commonest mistake in YAML: a text that is taken for
// something else.
func yamlHint(d document, err error) string {
	broken, _ := errors.AsType[provision.Violations](err)
	if !d.yaml {
		return ""
	}
	for _, v := range broken {
		if v.Given != "absent" && json.Valid([]byte(v.Given)) && !strings.ContainsAny(v.Given[:1], `"{[`) {
			return fmt.Sprintf("\n  (YAML takes %s for a number or a word of its own; put quotes around what is meant as text)", v.Given)
		}
	}
	return ""
}

const maxID = 128

func (p *preparation) checkIDs(requests int) error {
	if len(p.ids) == 0 {
		return nil
	}
	if len(p.ids) != requests {
		return fmt.Errorf("--id is given %d times for %d requests: give it once for each, in their order, or leave it out", len(p.ids), requests)
	}
	seen := map[string]bool{}
	for _, id := range p.ids {
		if err := checkID(id); err != nil {
			return err
		}
		if seen[id] {
			return fmt.Errorf("--id %q is given twice: each request needs its own", id)
		}
		seen[id] = true
	}
	return nil
}

func checkID(id string) error {
	if id == "" || len(id) > maxID || strings.ContainsFunc(id, func(r rune) bool { return r < ' ' || r > '~' }) {
		return fmt.Errorf("id %q: an id has 1 to %d printable ASCII characters", id, maxID)
	}
	return nil
}

func (p *preparation) id(i int) (string, error) {
	if len(p.ids) > 0 {
		return p.ids[min(i, len(p.ids)-1)], nil
	}
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("make an id: %w", err)
	}
	return id.String(), nil
}

// checkHeader refuses what no worker would accept.
func checkHeader(flag, value string) error {
	const maxHeader = 256 // bytes
	if len(value) > maxHeader || strings.ContainsFunc(value, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fmt.Errorf("%s %.80q: at most %d bytes of printable characters", flag, value, maxHeader)
	}
	return nil
}

// userAtHost names the caller as well as the system can.
func userAtHost() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		name += "@" + host
	}
	return name
}
