package ddsfake

import (
	"strconv"
	"time"
)

// iamTime has six fractional digits and a Z, dds-api.md §1.2.
const iamTime = "2006-01-02T15:04:05.000000Z"

type scoped struct {
	idName
	Domain idName `json:"domain"`
}

type tokenBody struct {
	ExpiresAt string         `json:"expires_at"`
	IssuedAt  string         `json:"issued_at"`
	Methods   []string       `json:"methods"`
	Project   *scoped        `json:"project,omitempty"`
	Domain    *idName        `json:"domain,omitempty"`
	Roles     []idName       `json:"roles"`
	User      tokenUser      `json:"user"`
	Catalog   []catalogEntry `json:"catalog"`
}

type tokenUser struct {
	scoped
	PasswordExpiresAt string `json:"password_expires_at"`
}

type catalogEntry struct {
	ID        string            `json:"id"`
	Name      string            `json:"name"`
	Type      string            `json:"type"`
	Endpoints []catalogEndpoint `json:"endpoints"`
}

type catalogEndpoint struct {
	ID        string `json:"id"`
	Interface string `json:"interface"`
	Region    string `json:"region"`
	RegionID  string `json:"region_id"`
	URL       string `json:"url"`
}

func (c *Cloud) tokenBody(k *call, u User, project idName, issued, expires time.Time, nocatalog bool) tokenBody {
	domain := idName{u.DomainID, u.Domain}
	body := tokenBody{
		ExpiresAt: expires.UTC().Format(iamTime),
		IssuedAt:  issued.UTC().Format(iamTime),
		Methods:   []string{"password"},
		Roles:     []idName{{"0", "te_admin"}, {"0", "op_gated_eip_ipv6"}, {derived("role dds"), "DDS Administrator"}},
		User:      tokenUser{scoped: scoped{idName{u.ID, u.Name}, domain}},
		Catalog:   []catalogEntry{},
	}
	if project.ID == "" {
		body.Domain = &domain
	} else {
		body.Project = &scoped{project, domain}
	}
	if !nocatalog {
		body.Catalog = catalog(k.host, project)
	}
	return body
}

// catalog lists DDS, and as many other services as make it the many kB that it really is.
func catalog(host string, project idName) []catalogEntry {
	entry := func(name, kind, url string) catalogEntry {
		return catalogEntry{ID: derived("service " + name), Name: name, Type: kind, Endpoints: []catalogEndpoint{{
			ID: derived("endpoint " + name), Interface: "public", Region: project.Name, RegionID: project.Name, URL: url}}}
	}
	entries := []catalogEntry{entry("ddsv3", "ddsv3", "http://"+host+"/v3/"+project.ID)}
	for i := range 60 {
		name := "service" + strconv.Itoa(i)
		entries = append(entries, entry(name, name, "https://"+name+".invalid/v3/"+project.ID))
	}
	return entries
}
