package ddsfake

import "strings"

// Op names an operation in statistics, faults and scripts.
type Op string

// The operations. OpAny stands for all of them where faults are set.
const (
	OpLogin   Op = "login"   // POST /v3/auth/tokens
	OpCreate  Op = "create"  // POST /v3/{project}/instances
	OpList    Op = "list"    // GET /v3/{project}/instances
	OpJob     Op = "job"     // GET /v3/{project}/jobs?id=
	OpJobs    Op = "jobs"    // GET /v3.1/{project}/jobs
	OpDelete  Op = "delete"  // DELETE /v3/{project}/instances/{id}
	OpQuotas  Op = "quotas"  // GET /v3/{project}/quotas
	OpUnknown Op = "unknown" // whatever is not published
	OpAny     Op = "any"
)

// FaultOps lists the operations that faults may be set for.
func FaultOps() []Op {
	return []Op{OpLogin, OpCreate, OpList, OpJob, OpJobs, OpDelete, OpQuotas, OpAny}
}

type route struct {
	op       Op
	project  string
	instance string
}

// route maps a method and a path to an operation of the dialect; an operation that the dialect lacks is
// as unknown as any other path.
func (d dialect) route(method, path string) route {
	if method == "POST" && path == "/v3/auth/tokens" {
		return route{op: OpLogin}
	}
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	if len(parts) < 3 || parts[1] == "" {
		return route{op: OpUnknown}
	}
	project := parts[1]
	parts[1] = "{project}"
	if len(parts) == 4 && parts[2] == "instances" && method == "DELETE" && parts[0] == "v3" {
		return route{op: OpDelete, project: project, instance: parts[3]}
	}
	op := OpUnknown
	switch method + " " + strings.Join(parts, "/") {
	case "POST v3/{project}/instances":
		op = OpCreate
	case "GET v3/{project}/instances":
		op = OpList
	case "GET v3/{project}/quotas":
		op = OpQuotas
	case "GET v3/{project}/jobs":
		if d.jobQuery {
			op = OpJob
		}
	case "GET v3.1/{project}/jobs":
		if d.jobList {
			op = OpJobs
		}
	}
	return route{op: op, project: project}
}
