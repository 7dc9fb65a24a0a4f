package ddsfake

import (
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"sync"
	"time"
)

// maxLoginBytes is IAM's limit of a body, dds-api.md §1.3 IAM.1101.
const maxLoginBytes = 32 << 10

// RevokeVariant says how a service answers a revoked token.
type RevokeVariant string

const (
	RevokeGateway RevokeVariant = "apigw" // 401 APIGW.0307, by the gateway
	RevokeService RevokeVariant = "dds"   // 401 DBS.280056, by the service
)

// iam keeps the users' failures and the tokens it gave out.
type iam struct {
	users    []User
	projects map[string]string // id to name
	life     time.Duration
	lockout  lockout

	mu      sync.RWMutex
	tokens  map[string]*grant
	pruneAt time.Time
}

type grant struct {
	project string // id; "" in a token of the whole account
	expires time.Time
	revoked RevokeVariant
}

func newIAM(cfg Config) *iam {
	m := &iam{projects: cfg.Projects, life: cfg.TokenLife, tokens: map[string]*grant{}}
	m.lockout.span = time.Duration(float64(lockoutSpan) / cfg.Speed)
	m.lockout.users = map[string]*failures{}
	for _, u := range cfg.Users {
		setDefault(&u.DomainID, derived("domain "+u.Domain))
		setDefault(&u.ID, derived("user "+u.Domain+"/"+u.Name))
		m.users = append(m.users, u)
	}
	return m
}

// check says with which code and text a service call with the token is refused, or "".
// The codes are those of dds-api.md §6.4.
func (m *iam) check(token, project string, now time.Time) (code, message string) {
	const wrong = "Incorrect IAM authentication information: "
	if token == "" {
		return "APIGW.0301", wrong + "x-auth-token not found"
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	g := m.tokens[token]
	switch {
	case g == nil:
		return "APIGW.0301", wrong + "decrypt token fail"
	case g.revoked == RevokeService:
		return "DBS.280056", ""
	case g.revoked != "" || !now.Before(g.expires):
		return "APIGW.0307", ""
	case g.project != project:
		return "APIGW.0301", wrong + "the token is of another project"
	}
	return "", ""
}

func (m *iam) issue(project string, now time.Time) (token string, expires time.Time) {
	token, expires = newToken(), now.Add(m.life)
	m.mu.Lock()
	defer m.mu.Unlock()
	if now.After(m.pruneAt) { // tokens long expired are forgotten now and then
		for t, g := range m.tokens {
			if now.Sub(g.expires) > time.Hour {
				delete(m.tokens, t)
			}
		}
		m.pruneAt = now.Add(10 * time.Minute)
	}
	m.tokens[token] = &grant{project: project, expires: expires}
	return token, expires
}

// RevokeTokens makes every token given out so far invalid and returns how many were valid until now. Any variant but
// RevokeService is RevokeGateway.
func (c *Cloud) RevokeTokens(variant RevokeVariant) int {
	if variant != RevokeService {
		variant = RevokeGateway
	}
	now := c.now()
	c.iam.mu.Lock()
	defer c.iam.mu.Unlock()
	revoked := 0
	for _, g := range c.iam.tokens {
		if g.revoked == "" && now.Before(g.expires) {
			g.revoked = variant
			revoked++
		}
	}
	return revoked
}

type idName struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

type loginBody struct {
	Auth *struct {
		Identity struct {
			Methods  []string `json:"methods"`
			Password *struct {
				User struct {
					idName
					Password string  `json:"password"`
					Domain   *idName `json:"domain"`
				} `json:"user"`
			} `json:"password"`
		} `json:"identity"`
		Scope struct {
			Project *struct {
				idName
				Domain *idName `json:"domain"`
			} `json:"project"`
			Domain *idName `json:"domain"`
		} `json:"scope"`
	} `json:"auth"`
}

// login is POST /v3/auth/tokens, dds-api.md §1.
func (c *Cloud) login(k *call) reply {
	c.stats.countLogin()
	if len(k.body) == 0 || len(k.body) > maxLoginBytes {
		return c.fail(k, "IAM.1101")
	}
	var body loginBody
	if json.Unmarshal(k.body, &body) != nil || body.Auth == nil || body.Auth.Identity.Password == nil {
		return c.fail(k, "IAM.0011")
	}
	methods, user := body.Auth.Identity.Methods, body.Auth.Identity.Password.User
	byName := user.ID == ""
	if len(methods) != 1 || methods[0] != "password" || user.Password == "" ||
		byName && (user.Name == "" || user.Domain == nil || *user.Domain == idName{}) {
		return c.fail(k, "IAM.0011")
	}
	known, found := c.iam.user(user.idName, user.Domain)
	key := user.ID + user.Name
	if found {
		key = known.ID
	}
	now := c.now()
	if c.iam.lockout.locked(key, now) {
		c.stats.countLoginFailure()
		return c.fail(k, "IAM.0061")
	}
	if !found || subtle.ConstantTimeCompare([]byte(known.Password), []byte(user.Password)) != 1 {
		c.iam.lockout.failed(key, now)
		c.stats.countLoginFailure()
		return c.fail(k, "IAM.0062")
	}
	c.iam.lockout.succeeded(key)
	project, ok := idName{}, true
	if p := body.Auth.Scope.Project; p != nil { // a project wins over a domain
		project, ok = c.iam.project(p.idName)
	} else if d := body.Auth.Scope.Domain; d != nil {
		ok = matches(*d, idName{known.DomainID, known.Domain})
	}
	if !ok {
		return c.fail(k, "IAM.0004")
	}
	return c.grant(k, known, project, now)
}

func (c *Cloud) grant(k *call, u User, project idName, now time.Time) reply {
	token, expires := c.iam.issue(project.ID, now)
	c.stats.countToken()
	var nocatalog bool
	if v, given := k.param("nocatalog"); given && v != "" {
		nocatalog = true
	}
	r := jsonReply(http.StatusCreated, struct {
		Token tokenBody `json:"token"`
	}{c.tokenBody(k, u, project, now, expires, nocatalog)})
	r.header["X-Subject-Token"] = token
	return r
}

// user finds who logs in, by id or by name and domain.
func (m *iam) user(who idName, domain *idName) (User, bool) {
	for _, u := range m.users {
		if who.ID != "" && u.ID == who.ID ||
			who.ID == "" && u.Name == who.Name && domain != nil && matches(*domain, idName{u.DomainID, u.Domain}) {
			return u, true
		}
	}
	return User{}, false
}

func (m *iam) project(want idName) (idName, bool) {
	if want == (idName{}) {
		return idName{}, false
	}
	for id, name := range m.projects {
		if matches(want, idName{id, name}) {
			return idName{id, name}, true
		}
	}
	return idName{}, false
}

// matches says whether what the caller gave, an id, a name or both, is the thing.
func matches(want, thing idName) bool {
	return want != idName{} && (want.ID == "" || want.ID == thing.ID) && (want.Name == "" || want.Name == thing.Name)
}
