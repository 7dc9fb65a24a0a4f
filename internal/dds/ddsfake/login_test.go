package ddsfake

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &caller{t: t, cloud: New(Config{TokenLife: 90 * time.Minute})}
		a := c.send("POST", "/v3/auth/tokens?nocatalog=true", loginRequest(DefaultPassword, projectScope()))
		a.wantStatus(201)
		token := a.header.Get("X-Subject-Token")
		if n := len(token); !strings.HasPrefix(token, "MII") || n < 2048 || n > 8192 {
			t.Errorf("token begins with %.3q and has %d bytes, want MII and 2 to 8 kB", token, n)
		}
		if strings.Contains(a.text, token) {
			t.Error("the token is in the body")
		}
		v := a.object()["token"].(map[string]any)
		const form = "2006-01-02T15:04:05.000000Z"
		expires, err := time.Parse(form, v["expires_at"].(string))
		if err != nil || !expires.Equal(time.Now().Add(90*time.Minute)) {
			t.Errorf("expires_at is %v (%v), want 90 min from %v with six digits and Z", v["expires_at"], err, time.Now().UTC())
		}
		equal(t, "catalog", v["catalog"], []any{})
		equal(t, "project", v["project"].(map[string]any)["id"], DefaultProjectID)
		equal(t, "user", v["user"].(map[string]any)["name"], DefaultUser)
		if _, there := v["domain"]; there {
			t.Error("a project's token has a domain of its own")
		}
	})
}

func TestLoginCatalogIsLarge(t *testing.T) {
	c := &caller{t: t, cloud: New(Config{})}
	a := c.send("POST", "/v3/auth/tokens", loginRequest(DefaultPassword, projectScope()))
	a.wantStatus(201)
	if len(a.text) < 8<<10 {
		t.Errorf("the body with a catalog has only %d bytes", len(a.text))
	}
}

func TestLoginScopesAndUsers(t *testing.T) {
	user := User{Name: DefaultUser, Password: DefaultPassword, Domain: DefaultDomain, ID: "u1", DomainID: "d1"}
	byID := func(scope object) object {
		return object{"auth": object{"scope": scope, "identity": object{"methods": []string{"password"},
			"password": object{"user": object{"id": "u1", "password": DefaultPassword}}}}}
	}
	for name, tc := range map[string]struct {
		body    object
		status  int
		project bool
	}{
		"project by id":              {loginRequest(DefaultPassword, object{"project": object{"id": DefaultProjectID}}), 201, true},
		"project by name and domain": {loginRequest(DefaultPassword, object{"project": object{"name": DefaultProjectName, "domain": object{"id": "d1"}}}), 201, true},
		"project wins over domain":   {loginRequest(DefaultPassword, projectScope().with(object{"domain": object{"id": "d1"}})), 201, true},
		"user by id":                 {byID(projectScope()), 201, true},
		"domain by name":             {loginRequest(DefaultPassword, object{"domain": object{"name": DefaultDomain}}), 201, false},
		"no scope":                   {loginRequest(DefaultPassword, object{}), 201, false},
		"unknown project":            {loginRequest(DefaultPassword, object{"project": object{"name": "zzz"}}), 404, false},
		"another domain":             {loginRequest(DefaultPassword, object{"domain": object{"name": "other"}}), 404, false},
		"user without domain": {object{"auth": object{"identity": object{"methods": []string{"password"},
			"password": object{"user": object{"name": DefaultUser, "password": DefaultPassword}}}}}, 400, false},
		"another method": {object{"auth": object{"identity": object{"methods": []string{"token"}}}}, 400, false},
	} {
		t.Run(name, func(t *testing.T) {
			c := &caller{t: t, cloud: New(Config{Users: []User{user}})}
			a := c.send("POST", "/v3/auth/tokens", tc.body)
			a.wantStatus(tc.status)
			if tc.status != 201 {
				return
			}
			token := a.object()["token"].(map[string]any)
			_, project := token["project"]
			_, domain := token["domain"]
			if project != tc.project || domain == tc.project {
				t.Errorf("project is there: %v, domain: %v; want a project: %v", project, domain, tc.project)
			}
		})
	}
}

func TestLoginErrorsInBothShapes(t *testing.T) {
	huawei := &caller{t: t, cloud: New(Config{})}
	huawei.send("POST", "/v3/auth/tokens", loginRequest("wrong", projectScope())).want(401, "IAM.0062")
	huawei.send("POST", "/v3/auth/tokens", "{").want(400, "IAM.0011")
	huawei.send("POST", "/v3/auth/tokens", "").want(400, "IAM.1101")
	huawei.send("POST", "/v3/auth/tokens", strings.Repeat(" ", 33<<10)).want(400, "IAM.1101")

	keystone := &caller{t: t, cloud: New(Config{Dialect: OTC})}
	a := keystone.send("POST", "/v3/auth/tokens", loginRequest("wrong", projectScope()))
	a.wantStatus(401)
	const want = `{"error":{"code":401,"message":"The username or password is wrong.","title":"Unauthorized"}}`
	equal(t, "body", a.text, want)
}

func TestLockout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &caller{t: t, cloud: New(Config{Speed: 15})} // the cloud's 15 minutes pass in one
		login := func(password string) gotAnswer {
			return c.send("POST", "/v3/auth/tokens", loginRequest(password, projectScope()))
		}
		for range 4 {
			login("wrong").want(401, "IAM.0062")
		}
		sleep(61 * time.Second) // the failures are forgotten
		for range 5 {
			login("wrong").want(401, "IAM.0062")
		}
		login(DefaultPassword).want(401, "IAM.0061")
		sleep(59 * time.Second)
		login(DefaultPassword).want(401, "IAM.0061")
		sleep(2 * time.Second)
		login(DefaultPassword).wantStatus(201)
		for range 4 { // a success has cleared the count
			login("wrong").want(401, "IAM.0062")
		}
		login(DefaultPassword).wantStatus(201)
		equal(t, "failures", c.cloud.Stats().LoginFailures, 4+5+2+4)
	})
}

func TestLoginLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		started := time.Now()
		newCaller(t, Config{LoginLatency: 3 * time.Second})
		equal(t, "login took", time.Since(started), 3*time.Second)
	})
}
