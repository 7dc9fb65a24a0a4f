package app_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// gateway stands before the simulated cloud. It notes the tokens that are given
// out, and answers some calls in ways that give away what it was sent.
type gateway struct {
	cloud http.Handler
	hunt  *hunt

	mu      sync.Mutex
	tokens  int
	fates   map[string][]fate      // by what befalls whom; see whose
	failing map[string]*failingJob // by id
}

// fate answers a call.
type fate func(http.ResponseWriter, *intercepted)

// intercepted is a call on its way to the cloud.
type intercepted struct {
	gateway *gateway
	request *http.Request
	body    []byte
	token   string
	execute func() *httptest.ResponseRecorder // lets the call happen
}

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the caller has gone
	}
	c := &intercepted{gateway: g, request: r, body: body, token: r.Header.Get("X-Auth-Token")}
	c.execute = func() *httptest.ResponseRecorder { return g.execute(r, body) }
	if answer := g.next(whose(r, body)); answer != nil {
		answer(w, c)
		return
	}
	answer := c.execute()
	g.failJobs(r, answer)
	pass(w, answer)
}

// pass answers as the cloud did.
func pass(w http.ResponseWriter, answer *httptest.ResponseRecorder) {
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes()) // the caller may have gone
}

func (g *gateway) execute(r *http.Request, body []byte) *httptest.ResponseRecorder {
	again := r.Clone(r.Context())
	again.Body = io.NopCloser(bytes.NewReader(body))
	answer := httptest.NewRecorder()
	g.cloud.ServeHTTP(answer, again)
	if token := answer.Header().Get("X-Subject-Token"); token != "" {
		g.mu.Lock()
		g.tokens++
		path := fmt.Sprintf("token %d", g.tokens)
		g.mu.Unlock()
		g.hunt.add(path, token)
	}
	return answer
}

// befall makes answers those of the next calls of that kind and name.
func (g *gateway) befall(whose string, answers ...fate) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fates == nil {
		g.fates = map[string][]fate{}
	}
	g.fates[whose] = append(g.fates[whose], answers...)
}

func (g *gateway) next(whose string) fate {
	g.mu.Lock()
	defer g.mu.Unlock()
	waiting := g.fates[whose]
	if len(waiting) == 0 {
		return nil
	}
	g.fates[whose] = waiting[1:]
	return waiting[0]
}

// spared are those whose fate no call has met, and failing jobs that no list has shown.
func (g *gateway) spared() (names []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for name, waiting := range g.fates {
		if len(waiting) > 0 {
			names = append(names, name)
		}
	}
	for id, job := range g.failing {
		if !job.listed {
			names = append(names, "job "+id)
		}
	}
	return names
}

// whose names a call: what it does, and the instance or user that it concerns.
func whose(r *http.Request, body []byte) string {
	var fields struct {
		Name string
		Auth struct {
			Identity struct {
				Password struct{ User struct{ Name string } }
			}
		}
	}
	_ = json.Unmarshal(body, &fields) // what has no name has no fate
	switch {
	case strings.HasSuffix(r.URL.Path, "/auth/tokens"):
		return "login " + fields.Auth.Identity.Password.User.Name
	case r.Method == http.MethodPost:
		return "create " + fields.Name
	}
	return "list " + r.URL.Query().Get("name")
}

// told is the part of the body that begins right before the password.
func (c *intercepted) told() string {
	return string(c.body[bytes.Index(c.body, []byte(`"password"`)):])
}

// refuse answers with an error code whose message repeats the request.
func refuse(status int, code string, write func(*intercepted) string) fate {
	return func(w http.ResponseWriter, c *intercepted) {
		answer, err := json.Marshal(map[string]string{"error_code": code, "error_msg": "The request " + write(c) + " is refused."})
		if err != nil {
			panic(err)
		}
		w.Header().Set("Retry-After", "0")
		w.Header().Set("X-Request-Id", "a-request")
		w.WriteHeader(status)
		_, _ = w.Write(answer)
	}
}

func inPlain(c *intercepted) string      { return c.told() }
func inQuery(c *intercepted) string      { return url.QueryEscape(c.told()) }
func inPath(c *intercepted) string       { return url.PathEscape(c.told()) }
func inHTML(c *intercepted) string       { return html.EscapeString(c.told()) }
func inHex(c *intercepted) string        { return hex.EncodeToString([]byte(c.told())) }
func inURLBase64(c *intercepted) string  { return base64.RawURLEncoding.EncodeToString(c.body) }
func inCapitals(c *intercepted) string   { return strings.ToUpper(c.told()) }
func withItsToken(c *intercepted) string { return "with " + c.token + " and " + c.told() }

// inBase64 writes the request in base64, behind so many bytes.
func inBase64(before int) func(*intercepted) string {
	return func(c *intercepted) string {
		return base64.StdEncoding.EncodeToString([]byte(strings.Repeat(" ", before) + c.told()))
	}
}

// page answers with an error page that shows the request; executed says whether
// the call happened all the same.
func page(status int, executed bool) fate {
	return func(w http.ResponseWriter, c *intercepted) {
		if executed {
			c.execute()
		}
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("X-Request-Id", "a "+c.token[:40])
		w.WriteHeader(status)
		fmt.Fprintf(w, "<html><pre>%s</pre>%s</html>", html.EscapeString(c.told()), c.token)
	}
}

// listPage answers a list with an error page that shows its token.
func listPage(w http.ResponseWriter, c *intercepted) {
	w.WriteHeader(http.StatusBadGateway)
	fmt.Fprintf(w, "<html>%s %s</html>", base64.StdEncoding.EncodeToString([]byte(c.token)), c.token)
}

// unidentified answers 202 without an id, to a call that happened.
func unidentified(w http.ResponseWriter, c *intercepted) {
	c.execute()
	w.Header().Set("X-Request-Id", c.told()[len(`"password":"`):][:40])
	w.WriteHeader(http.StatusAccepted)
	fmt.Fprintf(w, `{"request":%q,"encoded":%q}`, c.told(), inBase64(1)(c))
}

// redirect names an address that repeats the request.
func redirect(w http.ResponseWriter, c *intercepted) {
	w.Header().Set("Location", "https://"+url.PathEscape(strings.Trim(c.told()[len(`"password":"`):][:30], `"`))+".test/?"+c.token)
	w.WriteHeader(http.StatusTemporaryRedirect)
}

// silence answers nothing until the caller goes away.
func silence(_ http.ResponseWriter, c *intercepted) { <-c.request.Context().Done() }

// broken executes the call and breaks off in the midst of an answer that repeats it.
func broken(w http.ResponseWriter, c *intercepted) {
	c.execute()
	hangUp(w, "HTTP/1.1 202 Accepted\r\nContent-Length: 100000\r\n\r\n"+c.told()[:30])
}

// garbage answers with what is not HTTP.
func garbage(w http.ResponseWriter, c *intercepted) { hangUp(w, c.told()+"\r\n\r\n") }

func hangUp(w http.ResponseWriter, last string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	_, _ = io.WriteString(conn, last)
	_ = conn.Close()
}

// startGateway puts a gateway between the workers and the cloud of s.
func startGateway(t *testing.T, s *system, h *hunt) *gateway {
	t.Helper()
	g := &gateway{cloud: s.cloud, hunt: h, failing: map[string]*failingJob{}}
	server := httptest.NewServer(g)
	t.Cleanup(server.Close)
	s.settings["DDS_ENDPOINT"], s.settings["OS_AUTH_URL"] = server.URL, server.URL
	return g
}
