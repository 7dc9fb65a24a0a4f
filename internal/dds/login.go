package dds

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"ddsworker/internal/provision"
	"ddsworker/internal/tokencache"
)

// LoginConfig is what a Login needs.
type LoginConfig struct {
	AuthURL  string // of IAM, with or without /v3, like https://iam.{region}.myhuaweicloud.com
	Region   string
	Username string
	Password provision.Secret
	Domain   string // name of the account
	HTTP     HTTP
}

// Login gets tokens from IAM by user name and password (§1).
type Login struct {
	endpoint string
	target   string
	username string
	password provision.Secret
	domain   string
	sender   *sender
}

var _ tokencache.Login = (*Login)(nil)

// NewLogin returns a login. It makes no call.
func NewLogin(cfg LoginConfig) (*Login, error) {
	base, err := parseEndpoint("OS_AUTH_URL", cfg.AuthURL, cfg.Region, cfg.HTTP.AllowPlainHTTP)
	if err != nil {
		return nil, err
	}
	if cfg.Username == "" || cfg.Password.IsZero() || cfg.Domain == "" {
		return nil, errors.New("a login needs OS_USERNAME, OS_PASSWORD and OS_DOMAIN_NAME")
	}
	base.Path = strings.TrimSuffix(strings.TrimRight(base.Path, "/"), "/v3")
	target := base.JoinPath("v3", "auth", "tokens")
	target.RawQuery = url.Values{"nocatalog": {"true"}}.Encode() // else many kB that nobody reads
	return &Login{
		endpoint: base.String(), target: target.String(), username: cfg.Username, password: cfg.Password, domain: cfg.Domain,
		sender: newSender(cfg.HTTP),
	}, nil
}

// Endpoint is the address of IAM in one form, however it was given: without /v3.
func (l *Login) Endpoint() string { return l.endpoint }

// Close closes idle connections.
func (l *Login) Close() { l.sender.close() }

// Login gets a token for the project. Its errors are *provision.CloudError, and
// tokencache.ErrCredentials where repeating the login with this password may lock
// the account, or it is locked already (§1.5).
func (l *Login) Login(ctx context.Context, projectID string) (tokencache.Token, error) {
	body, err := l.body(projectID)
	if err != nil {
		return tokencache.Token{}, &provision.CloudError{Op: string(opLogin), Class: provision.ClassInvalid,
			Message: "the login cannot be written as JSON"}
	}
	a, err := l.sender.send(ctx, call{
		op: opLogin, method: http.MethodPost, url: l.target, header: http.Header{}, body: body, limit: maxAnswer,
		secrets: newSecrets(l.password.Reveal()),
	})
	if err != nil {
		return tokencache.Token{}, err
	}
	var answered struct {
		Token struct {
			ExpiresAt text `json:"expires_at"`
		} `json:"token"`
	}
	if err := a.decode(&answered); err != nil {
		return tokencache.Token{}, err
	}
	value, expires := a.header.Get("X-Subject-Token"), answered.Token.ExpiresAt.instant()
	if value == "" || expires.IsZero() {
		return tokencache.Token{}, a.unreadable("a login answer without a token or its expires_at")
	}
	return tokencache.NewToken(value, projectID, expires.Sub(sentAt(a.header))), nil
}

// sentAt is the cloud's time of an answer, and ours only if it does not tell: our
// clock may be wrong. Date is cut to the second, so it is taken for the next one.
func sentAt(h http.Header) time.Time {
	if at, err := http.ParseTime(h.Get("Date")); err == nil {
		return at.Add(time.Second)
	}
	return time.Now()
}

// body asks for a token of one project, by its id (§1.1).
func (l *Login) body(projectID string) ([]byte, error) {
	type named struct {
		Name string `json:"name"`
	}
	var b struct {
		Auth struct {
			Identity struct {
				Methods  []string `json:"methods"`
				Password struct {
					User struct {
						Name     string `json:"name"`
						Password string `json:"password"`
						Domain   named  `json:"domain"`
					} `json:"user"`
				} `json:"password"`
			} `json:"identity"`
			Scope struct {
				Project struct {
					ID string `json:"id"`
				} `json:"project"`
			} `json:"scope"`
		} `json:"auth"`
	}
	b.Auth.Identity.Methods = []string{"password"}
	user := &b.Auth.Identity.Password.User
	user.Name, user.Password, user.Domain.Name = l.username, l.password.Reveal(), l.domain
	b.Auth.Scope.Project.ID = projectID
	return json.Marshal(b)
}
