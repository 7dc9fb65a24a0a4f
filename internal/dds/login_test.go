package dds

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"
	"time"

	"ddsworker/internal/dds/ddsfake"
	"ddsworker/internal/provision"
	"ddsworker/internal/tokencache"
)

// loginAt returns a login at the address, with the canary as its password.
func loginAt(t testing.TB, authURL string) *Login {
	t.Helper()
	l, err := NewLogin(LoginConfig{AuthURL: authURL, Region: "eu-de", Username: "user", Password: provision.NewSecret(passCanary), Domain: "domain"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func TestLogin(t *testing.T) {
	for _, suffix := range []string{"", "/", "/v3", "/v3/"} {
		var got *http.Request
		var sent map[string]any
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got = r
			body, _ := io.ReadAll(r.Body)
			_ = json.Unmarshal(body, &sent)
			w.Header().Set("X-Subject-Token", tokenCanary)
			w.Header().Set("Date", "Fri, 03 Jan 2020 09:05:22 GMT") // their clock, years behind ours
			says(201, nil, `{"token":{"expires_at":"2020-01-04T09:05:22.701000Z","catalog":[],"roles":7}}`)(w, r)
		}))
		defer s.Close()
		token, err := loginAt(t, s.URL+suffix).Login(t.Context(), project)
		if err != nil || token.Reveal() != tokenCanary || token.ProjectID != project || token.Life != 24*time.Hour-299*time.Millisecond {
			t.Errorf("%s: %s %s, %v", suffix, token.ProjectID, token.Life, err)
		}
		if got.Method != "POST" || got.URL.Path != "/v3/auth/tokens" || got.URL.Query().Get("nocatalog") == "" || got.Header.Get("X-Auth-Token") != "" {
			t.Errorf("%s: called %s %s", suffix, got.Method, got.URL)
		}
		want := map[string]any{"auth": map[string]any{
			"identity": map[string]any{"methods": []any{"password"}, "password": map[string]any{"user": map[string]any{
				"name": "user", "password": passCanary, "domain": map[string]any{"name": "domain"}}}},
			"scope": map[string]any{"project": map[string]any{"id": project}}}}
		if !reflect.DeepEqual(sent, want) {
			t.Errorf("sent %v", sent)
		}
	}
}

// TestLoginAllowsForClocks: how far our clock is off does not matter, unless the
// answer has no Date.
func TestLoginAllowsForClocks(t *testing.T) {
	for _, ahead := range []time.Duration{-10 * time.Minute, 0, 10 * time.Minute} {
		s := httptest.NewServer(ddsfake.New(ddsfake.Config{ClockOffset: ahead, TokenLife: time.Minute}))
		l, err := NewLogin(LoginConfig{AuthURL: s.URL, Username: ddsfake.DefaultUser, Domain: ddsfake.DefaultDomain,
			Password: provision.NewSecret(ddsfake.DefaultPassword)})
		if err != nil {
			t.Fatal(err)
		}
		token, err := l.Login(t.Context(), ddsfake.DefaultProjectID)
		l.Close()
		s.Close()
		if err != nil || token.Life < 58*time.Second || token.Life > time.Minute {
			t.Errorf("their clock is ahead by %s: a minute is %s, %v", ahead, token.Life, err)
		}
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Date"] = nil
		w.Header().Set("X-Subject-Token", tokenCanary)
		says(201, nil, `{"token":{"expires_at":"`+time.Now().Add(time.Hour).UTC().Format(time.RFC3339)+`"}}`)(w, r)
	}))
	defer s.Close()
	token, err := loginAt(t, s.URL).Login(t.Context(), project)
	if err != nil || token.Life < 59*time.Minute || token.Life > time.Hour {
		t.Errorf("without a Date: %s, %v", token.Life, err)
	}
}

func TestLoginErrors(t *testing.T) {
	const (
		forbidden, invalid = provision.ClassForbidden, provision.ClassInvalid
		server, rate       = provision.ClassServer, provision.ClassRate
	)
	huawei := func(code string) string {
		return `{"error_msg":"no: ` + `Pa\"s/s&<w>0rd\\é=` + `","error_code":"` + code + `"}`
	}
	for _, tc := range []struct {
		status      int
		body, code  string
		class       provision.Class
		credentials bool
	}{
		{400, huawei("IAM.0007"), "IAM.0007", invalid, false}, {400, huawei("IAM.0009"), "IAM.0009", invalid, false},
		{400, huawei("IAM.0011"), "IAM.0011", invalid, false}, {400, huawei("IAM.0072"), "IAM.0072", invalid, false},
		{400, huawei("IAM.0073"), "IAM.0073", invalid, false}, {400, huawei("IAM.1101"), "IAM.1101", invalid, false},
		{401, huawei("IAM.0001"), "IAM.0001", forbidden, true}, {401, huawei("IAM.0061"), "IAM.0061", forbidden, true},
		{401, huawei("IAM.0062"), "IAM.0062", forbidden, true}, {401, huawei("IAM.0066"), "IAM.0066", forbidden, true},
		{401, huawei("IAM.0067"), "IAM.0067", forbidden, true}, {403, huawei("IAM.0002"), "IAM.0002", forbidden, false},
		{403, huawei("IAM.0003"), "IAM.0003", forbidden, false}, {403, huawei("IAM.0080"), "IAM.0080", forbidden, false},
		{403, huawei("IAM.0081"), "IAM.0081", forbidden, false}, {403, huawei("IAM.0082"), "IAM.0082", forbidden, false},
		{403, huawei("IAM.0083"), "IAM.0083", forbidden, false}, {404, huawei("IAM.0004"), "IAM.0004", invalid, false},
		{409, huawei("IAM.0005"), "IAM.0005", invalid, false}, {410, huawei("IAM.0020"), "IAM.0020", server, false},
		{429, huawei("IAM.0012"), "IAM.0012", rate, false}, {500, huawei("IAM.0006"), "IAM.0006", server, false},
		{429, huawei("APIGW.0308"), "APIGW.0308", rate, false},
		{401, `{"error":{"code":401,"message":"The username or password is wrong.","title":"Unauthorized"}}`, "", forbidden, true},
		{400, `{"error":{"code":400,"message":"The request body is invalid","title":"Bad Request"}}`, "", invalid, false},
		{503, "", "", server, false}, {302, "", "", server, false},
	} {
		s := httptest.NewServer(says(tc.status, nil, tc.body))
		_, err := loginAt(t, s.URL).Login(t.Context(), project)
		s.Close()
		e := fails(t, err, tc.class)
		if e.Code != tc.code || e.Op != "log in" || errors.Is(err, tokencache.ErrCredentials) != tc.credentials {
			t.Errorf("%d %s: %#v", tc.status, tc.body, e)
		}
	}
}

func TestUnreadableLoginIsLost(t *testing.T) {
	token := http.Header{"X-Subject-Token": {tokenCanary}}
	for _, handler := range []http.HandlerFunc{
		says(201, nil, `{"token":{"expires_at":"2020-01-04T09:05:22.701000Z"}}`),
		says(201, token, `{"token":{"expires_at":"soon","echo":"`+tokenCanary+`"}}`),
		says(201, token, `{}`), says(200, token, `<html>`), says(201, token, `{"token":"`+tokenCanary),
	} {
		s := httptest.NewServer(handler)
		_, err := loginAt(t, s.URL).Login(t.Context(), project)
		s.Close()
		fails(t, err, provision.ClassLost)
	}
}

func TestLoginDialRefused(t *testing.T) {
	s := httptest.NewServer(nil)
	s.Close()
	_, err := loginAt(t, s.URL).Login(t.Context(), project)
	if e := fails(t, err, provision.ClassNotSent); errors.Is(e, tokencache.ErrCredentials) {
		t.Error("an unreachable IAM is no verdict on the credentials")
	}
}

func TestLoginNeedsCredentials(t *testing.T) {
	if _, err := NewLogin(LoginConfig{AuthURL: "https://iam.example.test", Username: "u", Domain: "d"}); err == nil {
		t.Error("a login without a password")
	}
}

func TestInstant(t *testing.T) {
	want := time.Date(2022, 9, 5, 6, 24, 14, 0, time.UTC)
	for value, want := range map[text]time.Time{
		"2022-09-05T06:24:14+0000": want, "2022-09-05T14:24:14+0800": want, "2022-09-05T06:24:14Z": want,
		"2022-09-05T08:24:14+02:00": want, "2022-09-05T06:24:14.250000Z": want.Add(time.Second / 4), "2022-09-05T06:24:14": want,
		"2022-09-05 06:24:14": {}, "": {}, "never": {},
	} {
		if got := value.instant(); !got.Equal(want) {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
}
