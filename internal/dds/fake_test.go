package dds

import (
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"ddsworker/internal/dds/ddsfake"
	"ddsworker/internal/provision"
	"ddsworker/internal/tokencache"
	"ddsworker/internal/tokencache/fleettest"
)

// cloud is the simulated cloud with a client that logs in there.
type cloud struct {
	*Client
	fake *ddsfake.Cloud
}

func newCloud(t *testing.T, cfg ddsfake.Config, h HTTP) cloud {
	t.Helper()
	cfg.Speed = 10_000 // a job of 10 minutes takes 60 ms
	fake := ddsfake.New(cfg)
	s := httptest.NewServer(fake)
	t.Cleanup(s.Close)
	login, err := NewLogin(LoginConfig{AuthURL: s.URL, Username: ddsfake.DefaultUser, Domain: ddsfake.DefaultDomain,
		Password: provision.NewSecret(ddsfake.DefaultPassword)})
	if err != nil {
		t.Fatal(err)
	}
	cache := tokencache.New(tokencache.Config{Login: login, Fleet: fleettest.NewMemory().Process(ddsfake.DefaultUser, ddsfake.DefaultPassword)})
	t.Cleanup(cache.Close)
	c, err := New(Config{Endpoint: s.URL, Tokens: cache, HTTP: h})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return cloud{c, fake}
}

// replicaSet is a body that every dialect takes.
func replicaSet(t *testing.T, dialect string) []byte {
	t.Helper()
	num := 3
	if dialect == ddsfake.FlexibleEngine || dialect == ddsfake.Huawei2020 {
		num = 1
	}
	body, err := json.Marshal(map[string]any{
		"name": "test-replica", "mode": "ReplicaSet", "region": "aaa", "availability_zone": "bbb", "password": "Test@123",
		"datastore": map[string]string{"type": "DDS-Community", "version": "4.0", "storage_engine": "wiredTiger"},
		"vpc_id":    "674e9b42-cd8d-4d25-a2e6-5abcc565b961", "subnet_id": "f1df08c5-71d1-406a-aff0-de435a51007b",
		"security_group_id": "7aa51dbf-5b63-40db-9724-dad3c4828b58",
		"flavor":            []map[string]any{{"type": "replica", "num": num, "storage": "ULTRAHIGH", "size": 30, "spec_code": "dds.mongodb.s6.medium.4.repset"}},
		"tags":              []map[string]string{{"key": "provision-request", "value": "m1"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// until asks again and again until ok, for at most ten seconds.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not in time", what)
		case <-tick.C:
		}
	}
}

// TestLifeInEveryDialect walks an instance from its creation to its end.
func TestLifeInEveryDialect(t *testing.T) {
	const p = ddsfake.DefaultProjectID
	for _, dialect := range ddsfake.Dialects() {
		t.Run(dialect, func(t *testing.T) {
			c := newCloud(t, ddsfake.Config{Dialect: dialect}, HTTP{})
			ctx := t.Context()
			created, err := c.CreateInstance(ctx, p, replicaSet(t, dialect))
			if err != nil || created.InstanceID == "" || created.JobID == "" || created.Status != "creating" || created.CloudRequestID == "" {
				t.Fatalf("%+v, %v", created, err)
			}
			var jobless bool
			until(t, "the job's end", func() bool {
				job, err := c.Job(ctx, p, created.JobID)
				var class provision.Class
				if err != nil {
					class = provision.AsCloudError(err).Class
				}
				jobless = class == provision.ClassNotOffered
				if err != nil && class != provision.ClassGone && !jobless {
					t.Fatal(err)
				}
				return jobless || job.Status == provision.JobCompleted && job.InstanceID == created.InstanceID && !job.Created.IsZero()
			})
			page, err := c.Jobs(ctx, p, provision.JobWindow{From: time.Now().Add(-time.Hour), To: time.Now().Add(time.Hour)})
			if dialect == ddsfake.Huawei {
				if err != nil || len(page.Jobs) != 1 || page.Jobs[0].ID != created.JobID || page.Jobs[0].InstanceID != created.InstanceID {
					t.Errorf("%+v, %v", page, err)
				}
			} else {
				fails(t, err, provision.ClassNotOffered)
			}
			var ready provision.Instance
			until(t, "the instance", func() bool {
				list, err := c.ListInstances(ctx, p, provision.InstanceQuery{Name: "test-replica"})
				if err != nil || list.Total != 1 {
					t.Fatalf("%+v, %v", list, err)
				}
				ready = list.Instances[0]
				return ready.Status == provision.InstanceNormal && len(ready.Actions) == 0
			})
			tags := dialect == ddsfake.Huawei || dialect == ddsfake.OTC
			if ready.ID != created.InstanceID || len(ready.Addresses) == 0 || (ready.Tags["provision-request"] == "m1") != tags || len(ready.Detail) == 0 {
				t.Errorf("%+v", ready)
			}
			if _, request, err := c.DeleteInstance(ctx, p, created.InstanceID); err != nil || request == "" {
				t.Errorf("delete: %v", err)
			}
			until(t, "its end", func() bool {
				list, err := c.ListInstances(ctx, p, provision.InstanceQuery{ID: created.InstanceID})
				return err == nil && list.Total == 0 || err != nil && fails(t, err, provision.ClassGone) != nil
			})
			_, _, err = c.DeleteInstance(ctx, p, created.InstanceID)
			fails(t, err, provision.ClassGone)
			if n := c.fake.Stats().Logins; n != 1 {
				t.Errorf("%d logins", n)
			}
		})
	}
}

// TestEveryFault: what each fault means for a create. A class that says that
// nothing ran is only right where nothing did.
func TestEveryFault(t *testing.T) {
	want := map[ddsfake.Kind]provision.Class{
		ddsfake.DropBefore: provision.ClassLost, ddsfake.DropAfter: provision.ClassLost,
		ddsfake.TimeoutBefore: provision.ClassServer, ddsfake.TimeoutAfter: provision.ClassServer,
		ddsfake.BusyBefore: provision.ClassBusy, ddsfake.BusyAfter: provision.ClassBusy,
		ddsfake.ServerErrorBefore: provision.ClassServer, ddsfake.ServerErrorAfter: provision.ClassServer,
		ddsfake.TooMany: provision.ClassRate, ddsfake.Throttled: provision.ClassRate,
		ddsfake.StateConflict: provision.ClassBusy, ddsfake.Forbidden: provision.ClassForbidden,
		ddsfake.Denied: provision.ClassAuth, ddsfake.Arrears: provision.ClassQuota,
		ddsfake.HTMLBefore: provision.ClassServer, ddsfake.HTMLAfter: provision.ClassServer,
		ddsfake.EmptyBefore: provision.ClassServer, ddsfake.EmptyAfter: provision.ClassServer,
		ddsfake.Redirect:   provision.ClassServer,
		ddsfake.HangBefore: provision.ClassLost, ddsfake.HangAfter: provision.ClassLost,
		ddsfake.CutShort: provision.ClassLost, ddsfake.CutJSON: provision.ClassLost, ddsfake.NoID: provision.ClassLost,
		ddsfake.HugeBody: provision.ClassLost, ddsfake.SlowBytes: provision.ClassLost,
		ddsfake.JobFails: "",
	}
	mayHaveRun := map[provision.Class]bool{provision.ClassLost: true, provision.ClassServer: true, provision.ClassBusy: true}
	for _, kind := range ddsfake.Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			class, known := want[kind]
			if !known {
				t.Fatalf("nobody has said what %s means", kind)
			}
			c := newCloud(t, ddsfake.Config{HugeBody: 4 << 20}, HTTP{CallTimeout: 2 * time.Second})
			if err := c.fake.Script(ddsfake.OpCreate, ddsfake.Answer{Kind: kind}); err != nil {
				t.Fatal(err)
			}
			_, err := c.CreateInstance(t.Context(), ddsfake.DefaultProjectID, replicaSet(t, ddsfake.Huawei))
			if class == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			e := fails(t, err, class)
			s := c.fake.Stats()
			if s.CreatesExecuted > 0 && !mayHaveRun[e.Class] || s.Calls[ddsfake.OpCreate] != 1 {
				t.Errorf("%d of %d calls ran, and the class is %s", s.CreatesExecuted, s.Calls[ddsfake.OpCreate], e.Class)
			}
		})
	}
}

// TestRevokedYoungTokenIsKeptFromUse: a token younger than a minute is neither
// replaced nor sent again once the cloud has said that it is of no use.
func TestRevokedYoungTokenIsKeptFromUse(t *testing.T) {
	for _, variant := range []ddsfake.RevokeVariant{ddsfake.RevokeGateway, ddsfake.RevokeService} {
		c := newCloud(t, ddsfake.Config{}, HTTP{})
		list := func() error {
			_, err := c.ListInstances(t.Context(), ddsfake.DefaultProjectID, provision.InstanceQuery{})
			return err
		}
		if err := list(); err != nil {
			t.Fatal(err)
		}
		c.fake.RevokeTokens(variant)
		fails(t, list(), provision.ClassAuth)
		for range 10 {
			fails(t, list(), provision.ClassNotSent)
		}
		if s := c.fake.Stats(); s.Logins != 1 || s.Calls[ddsfake.OpList] != 2 {
			t.Errorf("%s: %d logins, %d lists", variant, s.Logins, s.Calls[ddsfake.OpList])
		}
	}
}

func TestWrongPasswordIsTriedOnce(t *testing.T) {
	for _, shape := range []string{ddsfake.IAMErrorsHuawei, ddsfake.IAMErrorsKeystone} {
		c := newCloud(t, ddsfake.Config{IAMErrors: shape, Users: []ddsfake.User{{
			Name: ddsfake.DefaultUser, Domain: ddsfake.DefaultDomain, Password: "another one"}}}, HTTP{})
		for range 20 {
			_, err := c.CreateInstance(t.Context(), ddsfake.DefaultProjectID, replicaSet(t, ddsfake.Huawei))
			if e := fails(t, err, provision.ClassNotSent); !errors.Is(e, tokencache.ErrCredentials) || shape == ddsfake.IAMErrorsHuawei && e.Code != "IAM.0062" {
				t.Errorf("%#v", e)
			}
		}
		if s := c.fake.Stats(); s.Logins != 1 || s.Calls[ddsfake.OpCreate] != 0 {
			t.Errorf("%s: %d logins, %d creates", shape, s.Logins, s.Calls[ddsfake.OpCreate])
		}
	}
}
