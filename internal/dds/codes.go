package dds

import (
	"strings"

	"ddsworker/internal/provision"
)

// Codes that mean different things for different calls or statuses.
const (
	codeNotPublished = "APIGW.0101"
	codeBadRequest   = "APIGW.0201"
)

// parameterCodes say that some parameter is wrong, not which.
const parameterCodes = "200001 200095 201006 280001 290000"

func isParameterCode(code string) bool {
	number, ok := strings.CutPrefix(code, "DBS.")
	return ok && len(number) == 6 && strings.Contains(parameterCodes, number)
}

// meanings is the table below by code.
var meanings = func() map[string]meaning {
	m := map[string]meaning{}
	for _, row := range codeTable {
		for _, number := range strings.Fields(row.codes) {
			m[row.service+number] = meaning{row.class, row.limit, row.then}
		}
	}
	return m
}()

// codeTable is the one place that says what a code of the cloud means:
// dds-api.md §6.2 (DBS), §6.4 (APIGW, of which APIG is an older name), §1.3 (IAM).
// byCode corrects the few that depend on the call.
var codeTable = []struct {
	service string
	codes   string
	class   provision.Class
	limit   int
	then    provision.Class
}{
	// ---- DBS: token, permission, money ----
	{service: "DBS.", codes: "280056", class: provision.ClassAuth},
	// permission denied, or the token has expired
	{service: "DBS.", codes: "280015", class: provision.ClassAuth, limit: 1, then: provision.ClassForbidden},
	// the permission check itself failed
	{service: "DBS.", codes: "280064", class: provision.ClassAuth, limit: 1, then: provision.ClassServer},
	// tenant and instance do not match; permission missing; somebody else's instance
	{service: "DBS.", codes: "200010 280032 280063 200604", class: provision.ClassForbidden},
	// account suspended; a quota (of the sister service RDS)
	{service: "DBS.", codes: "280019 200046", class: provision.ClassQuota},

	// ---- DBS: later ----
	{service: "DBS.", codes: "280443", class: provision.ClassRate}, // calls too frequent
	{service: "DBS.", codes: "200998", class: provision.ClassBusy}, // system busy
	// the state forbids it, or another operation is running
	{service: "DBS.", codes: "200011 200018 200019 200076 201000 201014 201015", class: provision.ClassBusy},
	{service: "DBS.", codes: "200047 201202 200311 238007 200700 200701", class: provision.ClassBusy},
	// a backup or a parameter template is in use
	{service: "DBS.", codes: "201319 212006 212032", class: provision.ClassBusy},
	// not in the tables, but met by clients: state, other operation, not ready
	{service: "DBS.", codes: "00010009 239037 280228 280036", class: provision.ClassBusy},
	// "invalid request": its hint names the state, or the request
	{service: "DBS.", codes: "280042", class: provision.ClassBusy, limit: 5, then: provision.ClassInvalid},

	// ---- DBS: the service failed ----
	{service: "DBS.", codes: "280005 201509", class: provision.ClassServer},
	// outcomes that come with 400: password, restart, users, roles, sessions
	{service: "DBS.", codes: "200077 200434 200816 200817 200818 239014 239015 239029 301076 301077", class: provision.ClassServer},

	// ---- DBS: gone; for create, a parameter that names nothing ----
	{service: "DBS.", codes: "200002 201028 201501 201502 280110 280016", class: provision.ClassGone},
	// not in the tables: the job is not known (yet); the object is not there
	{service: "DBS.", codes: "200543 200602", class: provision.ClassGone},

	// ---- DBS: the name exists (old dialects) ----
	{service: "DBS.", codes: "200022", class: provision.ClassConflict},

	// ---- DBS: create parameters ----
	{service: "DBS.", codes: parameterCodes, class: provision.ClassInvalid},
	// operation not legal or not supported; prepaid cannot be deleted; project id
	{service: "DBS.", codes: "200004 280343 280406 280408", class: provision.ClassInvalid},
	// name; region; availability zone
	{service: "DBS.", codes: "280234 200024 200025 200470 280244", class: provision.ClassInvalid},
	// engine, version, mode
	{service: "DBS.", codes: "201020 280122 280235 280347 200042 212008 200041 280236 280342", class: provision.ClassInvalid},
	// group, node type and role; numbers of nodes and instances; node unknown
	{service: "DBS.", codes: "280414 280327 200075 280123 280280 200013 200451 216026 216030", class: provision.ClassInvalid},
	// VPC, subnet, security group
	{service: "DBS.", codes: "200048 280247 200503 200049 280248 200501 200050 280249 200502", class: provision.ClassInvalid},
	// spec_code: missing, wrong, mismatched, not in this zone, sold out
	{service: "DBS.", codes: "200053 200054 280239 280267 239012 280434 280445", class: provision.ClassInvalid},
	// disk: size, type, multiple of 10, limit, number of enlargements
	{service: "DBS.", codes: "200072 200306 280242 280266 280311 280314 280241 200302 200028 200303 200304", class: provision.ClassInvalid},
	// user and password
	{service: "DBS.", codes: "200029 200052 280200 200068", class: provision.ClassInvalid},
	// port; ssl_option; backup strategy
	{service: "DBS.", codes: "200059 200060 200462 239011 280214 280215 280216", class: provision.ClassInvalid},
	// KMS key; parameter template; enterprise project
	{service: "DBS.", codes: "200506 200507 280438 200057 212013 212001 280433 280437", class: provision.ClassInvalid},
	// payment and order; server group; tags
	{service: "DBS.", codes: "280365 280366 280456 280469 280441 280482 280483 280484", class: provision.ClassInvalid},

	// ---- DBS: queries and other calls ----
	// ids, limit, offset, range; logs, dates, file names
	{service: "DBS.", codes: "280404 280407 280439 280440 280271 280066 280067 280068 280361 280409 280416", class: provision.ClassInvalid},
	// addresses
	{service: "DBS.", codes: "200091 280284 200092 200702 280421", class: provision.ClassInvalid},
	// backups; parameter templates
	{service: "DBS.", codes: "201201 201204 201214 280124 280127 280277", class: provision.ClassInvalid},
	{service: "DBS.", codes: "212003 212017 212019 212028 212030 212031", class: provision.ClassInvalid},
	// databases, users and roles in the instance
	{service: "DBS.", codes: "200823 200824 280446 239018 200826 200827 239017", class: provision.ClassInvalid},
	{service: "DBS.", codes: "200828 239022 239016 239019 239020 239021 280292", class: provision.ClassInvalid},
	// balancer; sessions
	{service: "DBS.", codes: "239031 239032 239033 301071 301072 301073 301074 301075", class: provision.ClassInvalid},

	// ---- CBC, the billing: another operation is running; the balance is too low ----
	{service: "CBC.", codes: "99003651", class: provision.ClassBusy},
	{service: "CBC.", codes: "30060005", class: provision.ClassQuota},

	// ---- APIGW: before the service is reached ----
	{service: "APIGW.", codes: "0101 0201 0602 0607", class: provision.ClassInvalid},
	// back end missing, timed out, broken; the gateway's own failures
	{service: "APIGW.", codes: "0103 0104 0105 0106 0203 0601", class: provision.ClassServer},
	{service: "APIGW.", codes: "0605 0606 0608 0609 0610 0611 0612 0613 0705", class: provision.ClassServer},
	// wrong token; also an account that is frozen, or a token of another region
	{service: "APIGW.", codes: "0301", class: provision.ClassAuth, limit: 1, then: provision.ClassForbidden},
	{service: "APIGW.", codes: "0307 0311", class: provision.ClassAuth},
	{service: "APIGW.", codes: "0308", class: provision.ClassRate},
	// not allowed: user, app, project, address; signatures that a new token does not mend
	{service: "APIGW.", codes: "0302 0303 0304 0305 0306 0310 0401 0402 0404 0801 0802", class: provision.ClassForbidden},
	{service: "APIGW.", codes: "0501 0502", class: provision.ClassQuota}, // app's quota; app frozen

	// ---- IAM ----
	// body or parameter wrong; body too large; not found; conflict
	{service: "IAM.", codes: "0007 0009 0011 0072 0073 1101 0004 0005", class: provision.ClassInvalid},
	{service: "IAM.", codes: "0001 0066 0067", class: provision.ClassAuth},
	// locked account and wrong password: each try feeds the lockout
	{service: "IAM.", codes: "0061 0062", class: provision.ClassForbidden},
	// not authorised; key's owner, console-only user, disabled user, private region
	{service: "IAM.", codes: "0002 0003 0080 0081 0082 0083", class: provision.ClassForbidden},
	{service: "IAM.", codes: "0012", class: provision.ClassRate},
	{service: "IAM.", codes: "0006 0020", class: provision.ClassServer}, // failed; moved to another region
}
