package ddsfake

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

var (
	nameForm      = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{3,63}$`)
	windowForm    = regexp.MustCompile(`^([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])$`)
	tagKeyForm    = regexp.MustCompile(`^[A-Za-z0-9_\-\x{4E00}-\x{9FFF}]{1,36}$`)
	tagValueForm  = regexp.MustCompile(`^[A-Za-z0-9_\-\x{4E00}-\x{9FFF}]{0,43}$`)
	tagDotForm    = regexp.MustCompile(`^[A-Za-z0-9_.\-\x{4E00}-\x{9FFF}]{0,43}$`)
	passwordForm  = regexp.MustCompile(`^[A-Za-z0-9~!@#%^*\-_=+?]*$`)
	enterpriseIDs = regexp.MustCompile(`^(0|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$`)
)

const maxTags = 20

// form checks what the body alone can tell, in the order of its fields, and returns the code of the first mistake or "".
// The rules are those of dds-api.md §2.2.
func (d dialect) form(b *createBody) string {
	for _, check := range []func(*createBody) string{
		d.nameAndDatastore, d.placement, d.portAndPassword, d.modeAndFlavor, d.options, d.tagRules, d.payment,
	} {
		if code := check(b); code != "" {
			return code
		}
	}
	return ""
}

func (d dialect) nameAndDatastore(b *createBody) string {
	engine := "wiredTiger"
	versions := d.versions
	switch {
	case b.RestorePoint != nil:
		return "DBS.280001"
	case !nameForm.MatchString(b.Name):
		return "DBS.280234"
	case b.enhanced() && d.enhanced:
		versions, engine = []string{"3.4"}, "rocksDB"
	case b.Datastore.Type != community:
		return "DBS.280235"
	case b.Datastore.Version >= "4.2":
		engine = "rocksDB"
	}
	if !slices.Contains(versions, b.Datastore.Version) {
		return "DBS.280236"
	}
	if b.Datastore.Engine != engine {
		return "DBS.280122"
	}
	return ""
}

func (d dialect) placement(b *createBody) string {
	switch {
	case b.Region == "":
		return "DBS.200024"
	case b.Zone == "" || slices.Contains(strings.Split(b.Zone, ","), ""):
		return "DBS.200025"
	case !uuidForm.MatchString(b.VPC):
		return "DBS.280247"
	case !uuidForm.MatchString(b.Subnet):
		return "DBS.280248"
	case !uuidForm.MatchString(b.SecurityGroup):
		return "DBS.280249"
	case b.Key != "" && (b.enhanced() || !uuidForm.MatchString(b.Key)):
		return "DBS.280438"
	}
	return ""
}

func (d dialect) portAndPassword(b *createBody) string {
	if d.takesPort && b.Port.given() {
		if _, ok := b.Port.in(0, 65535); !ok {
			return "DBS.200059"
		}
		if p, ok := b.Port.in(2100, 9500); !ok && p != 27017 && p != 27018 && p != 27019 {
			return "DBS.200060"
		}
	}
	if b.Password == "" {
		if d.needPassword {
			return "DBS.200052"
		}
		return ""
	}
	if !passwordForm.MatchString(b.Password) {
		return "DBS.280200"
	}
	for _, kind := range []string{"ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz", "0123456789", "~!@#%^*-_=+?"} {
		if !strings.ContainsAny(b.Password, kind) {
			return d.weakPassword
		}
	}
	if n := len(b.Password); n < 8 || n > 32 {
		return d.weakPassword
	}
	return ""
}

func (d dialect) options(b *createBody) string {
	if s := b.Backup; s != nil {
		m := windowForm.FindStringSubmatch(s.StartTime)
		if m == nil || m[2] != m[4] || !slices.Contains(d.backupMinutes, m[2]) {
			return "DBS.280216"
		}
		from, _ := strconv.Atoi(m[1])
		to, _ := strconv.Atoi(m[3])
		if to != (from+1)%24 {
			return "DBS.280216"
		}
		if _, ok := s.KeepDays.in(0, 732); s.KeepDays.given() && !ok {
			return "DBS.280214"
		}
	}
	if b.EnterpriseProject != "" && !enterpriseIDs.MatchString(b.EnterpriseProject) {
		return "DBS.280433"
	}
	if !slices.Contains([]string{"", "0", "1"}, b.SSL) {
		return "DBS.239011"
	}
	for _, c := range b.Configurations {
		if !configurationForm.MatchString(c.ID) {
			return "DBS.200057"
		}
	}
	for _, p := range b.ServerGroupPolicies {
		if p != "anti-affinity" {
			return "DBS.280469"
		}
	}
	return ""
}

func (d dialect) tagRules(b *createBody) string {
	if !d.tags {
		return ""
	}
	if len(b.Tags) > maxTags {
		return "DBS.280484"
	}
	value := tagValueForm
	if d.tagDot {
		value = tagDotForm
	}
	seen := map[string]bool{}
	for _, t := range b.Tags {
		if !utf8.ValidString(t.Key) || !tagKeyForm.MatchString(t.Key) || seen[t.Key] {
			return "DBS.280482"
		}
		if !value.MatchString(t.Value) {
			return "DBS.280483"
		}
		seen[t.Key] = true
	}
	return ""
}

func (d dialect) payment(b *createBody) string {
	switch {
	case b.Charge == nil || b.Charge.Mode == "" || b.Charge.Mode == "postPaid":
		return ""
	case b.Charge.Mode != "prePaid" || !d.prepaid:
		return "DBS.280365"
	}
	longest := map[string]int{"month": 9, "year": 3}[b.Charge.PeriodType]
	if _, ok := b.Charge.PeriodNum.in(1, longest); !ok {
		return "DBS.280365"
	}
	return ""
}
