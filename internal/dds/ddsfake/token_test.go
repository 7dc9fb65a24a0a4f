package ddsfake

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestTokenRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaller(t, Config{Projects: map[string]string{DefaultProjectID: DefaultProjectName, "p2": "other"}})
		good := c.token
		list := func(token string) gotAnswer {
			c.token = token
			return c.send("GET", c.path("/instances"), nil)
		}
		list(good).wantStatus(200)
		list("").want(401, "APIGW.0301")
		list("MIInonsense").want(401, "APIGW.0301")
		list(strings.Repeat("x", 32<<10)).want(401, "APIGW.0301")
		list(strings.Repeat("x", 32<<10+1)).want(494, "APIGW.0201")

		c.token = good
		c.send("GET", "/v3/p2/instances", nil).want(401, "APIGW.0301")
		account := c.send("POST", "/v3/auth/tokens", loginRequest(DefaultPassword, object{})).header.Get("X-Subject-Token")
		list(account).want(401, "APIGW.0301")

		sleep(24*time.Hour - time.Second)
		list(good).wantStatus(200)
		sleep(time.Second)
		list(good).want(401, "APIGW.0307")
	})
}

func TestRevoke(t *testing.T) {
	for _, tc := range []struct {
		variant RevokeVariant
		code    string
	}{{RevokeGateway, "APIGW.0307"}, {RevokeService, "DBS.280056"}} {
		c := newCaller(t, Config{})
		c.login()
		equal(t, "revoked tokens", c.cloud.RevokeTokens(tc.variant), 2)
		equal(t, "revoked again", c.cloud.RevokeTokens(tc.variant), 0)
		c.send("POST", c.path("/instances"), replica(3)).want(401, tc.code)
		equal(t, "instances", len(c.cloud.Instances()), 0)
		c.login() // a new one is good
		c.create(replica(3))
	}
}

func TestNewTokenLeavesTheOldOneValid(t *testing.T) {
	c := newCaller(t, Config{})
	old := c.token
	c.login()
	if old == c.token {
		t.Fatal("two logins gave the same token")
	}
	c.token = old
	c.list("")
}
