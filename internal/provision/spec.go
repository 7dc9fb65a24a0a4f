package provision

import (
	"crypto/sha256"
	"errors"
	"strings"
)

// Spec is a create call's body that was checked and taken apart.
type Spec struct {
	Name     string
	Region   string
	Mode     string // Sharding, ReplicaSet or Single
	Prepaid  bool   // ordered by month or year; cannot be deleted through the API
	Password Secret // the administrator's; zero if the body had none in the clear
	Sealed   string // the administrator's password as its publisher sealed it; empty if none was

	// JSON is the body without the two in canonical form: keys sorted, no
	// white space, numbers as written, unknown fields kept.
	JSON []byte
}

// Tag is a label of an instance.
type Tag struct{ Key, Value string }

// Keys of the tags by which an instance is found again. They are ours alone.
const (
	TagRequest      = "provision-request" // the request's mark
	TagInstallation = "provision-by"      // the installation's id
)

// Parse decodes and checks the body of a create call. Its error is Violations,
// which names every broken rule at once.
func (r Rules) Parse(body []byte) (Spec, error) {
	root, found := decode(body)
	if root == nil {
		return Spec{}, found.conclude(secrets{})
	}
	check := checker{report: found, offer: r.Dialect.offer(), acceptUnknown: r.AcceptUnknownFields}
	check.body(root)
	if len(check.found) > 0 {
		return Spec{}, check.conclude(secretsOf(root))
	}
	return newSpec(root, len(body)), nil
}

// newSpec takes a body of that size apart that keeps all rules.
func newSpec(root *node, size int) Spec {
	text := func(n *node) string { s, _ := n.text(); return s }
	spec := Spec{
		Name:     text(root.get("name")),
		Region:   text(root.get("region")),
		Mode:     text(root.get("mode")),
		Prepaid:  text(root.get("charge_info").get("charge_mode")) == prePaid,
		Password: NewSecret(text(root.get("password"))),
		Sealed:   text(root.get("sealed_password")),
	}
	root.remove("password")
	root.remove("sealed_password")
	spec.JSON = root.append(make([]byte, 0, size))
	return spec
}

// Fingerprint is the SHA-256 of the project and the body without any password:
// two deliveries of one request id with different fingerprints are two requests.
func (s Spec) Fingerprint(projectID string) [32]byte {
	text := make([]byte, 0, len(projectID)+1+len(s.JSON))
	text = append(text, projectID...)
	text = append(text, 0) // never part of the JSON
	return sha256.Sum256(append(text, s.JSON...))
}

// CreateBody writes the body that is sent: specJSON with the password, unless
// that is zero, and with tags after the user's own.
func CreateBody(specJSON []byte, password Secret, tags ...Tag) ([]byte, error) {
	spec, err := readSpec(specJSON)
	if err != nil {
		return nil, err
	}
	return spec.body(password, tags...), nil
}

// storedSpec is the JSON of a Spec, read once for all that a call needs of it.
type storedSpec struct {
	root *node
	size int
}

func readSpec(specJSON []byte) (storedSpec, error) {
	root, _, err := readTree(specJSON)
	if err != nil || root.kind != objectNode {
		return storedSpec{}, errors.New("the stored spec is not a JSON object; restore the row from a backup")
	}
	return storedSpec{root, len(specJSON)}, nil
}

// body is CreateBody for a spec that needs not stay as it is.
func (s storedSpec) body(password Secret, tags ...Tag) []byte {
	if !password.IsZero() {
		s.root.set("password", node{kind: stringNode, value: password.Reveal()})
	}
	if len(tags) > 0 {
		all := node{kind: arrayNode}
		if own := s.root.get("tags"); own != nil {
			all.items = own.items
		}
		for _, tag := range tags {
			all.items = append(all.items, tag.node())
		}
		s.root.set("tags", all)
	}
	const more = 256 // bytes, for what was added
	return s.root.append(make([]byte, 0, s.size+more))
}

// kind is which builds it is like. It tells flavors apart as the claim of a poll
// does.
func (s storedSpec) kind(projectID string) BuildKind {
	mode, _ := s.root.get("mode").text()
	var codes []string
	if flavor := s.root.get("flavor"); flavor != nil {
		for i := range flavor.items {
			code, _ := flavor.items[i].get("spec_code").text()
			codes = append(codes, code)
		}
	}
	return BuildKind{ProjectID: projectID, Mode: mode, Flavor: strings.Join(codes, ",")}
}

func (t Tag) node() node {
	return node{kind: objectNode, members: []member{
		{"key", node{kind: stringNode, value: t.Key}},
		{"value", node{kind: stringNode, value: t.Value}},
	}}
}

// append writes n in canonical form: one spelling for equal content.
func (n *node) append(dst []byte) []byte {
	switch n.kind {
	case objectNode:
		dst = append(dst, '{')
		for i := range n.members {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(appendString(dst, n.members[i].key), ':')
			dst = n.members[i].value.append(dst)
		}
		return append(dst, '}')
	case arrayNode:
		dst = append(dst, '[')
		for i := range n.items {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = n.items[i].append(dst)
		}
		return append(dst, ']')
	case stringNode:
		return appendString(dst, n.value)
	default:
		return append(dst, n.value...)
	}
}

// appendString writes a JSON string that escapes only what JSON demands.
func appendString(dst []byte, text string) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	written := 0
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		if dst = append(append(dst, text[written:i]...), '\\'); c < ' ' {
			dst = append(dst, 'u', '0', '0', digits[c>>4], digits[c&15])
		} else {
			dst = append(dst, c)
		}
		written = i + 1
	}
	return append(append(dst, text[written:]...), '"')
}
