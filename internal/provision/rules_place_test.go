package provision

import (
	"strings"
	"testing"
)

func TestNameRule(t *testing.T) {
	checkRules(t, []ruleCase{
		{example: "single", edits: []string{`name="a123"`}},
		{example: "single", edits: []string{`name="Z` + strings.Repeat("-", 63) + `"`}},
		{example: "single", edits: []string{`name="Ab_9-"`}},
		{example: "single", edits: []string{`name="a12"`}, refused: "name"},
		{example: "single", edits: []string{`name="a` + strings.Repeat("b", 64) + `"`}, refused: "name"},
		{example: "single", edits: []string{`name="1abc"`}, refused: "name"},
		{example: "single", edits: []string{`name="abc.d"`}, refused: "name"},
		{example: "single", edits: []string{`name="abcé"`}, refused: "name"},
		{example: "single", edits: []string{`name="abcd\n"`}, refused: "name"},
		{example: "single", edits: []string{`name=null`}, refused: "name"},
		{example: "single", edits: []string{`name=`}, refused: "name"},
	})
}

func TestPlaceRules(t *testing.T) {
	checkRules(t, []ruleCase{
		{example: "single", edits: []string{`region="eu-west-101"`}},
		{example: "single", edits: []string{`region=""`}, refused: "region"},
		{example: "single", edits: []string{`region="evil.example/"`}, refused: "region"},
		{example: "single", edits: []string{`region=["a"]`}, refused: "region"},
		{example: "single", edits: []string{`availability_zone="eu-de-01,eu-de-02,eu-de-03"`}},
		{dialect: DialectOTC, example: "single", edits: []string{`availability_zone="eu-de-01,eu-de-02"`}},
		{dialect: DialectHuawei, example: "single", edits: []string{`availability_zone="a,b,c"`}},
		{dialect: DialectFlexibleEngine, example: "single", edits: []string{`availability_zone="a,b,c"`}},
		{dialect: DialectHuawei2020, example: "single", edits: []string{`availability_zone="a,b,c"`}, refused: "availability_zone"},
		{example: "single", edits: []string{`availability_zone="a,b"`, `dss_pool_id="pool"`}, refused: "availability_zone"},
		{example: "single", edits: []string{`availability_zone="a, b"`}, refused: "availability_zone"},
		{example: "single", edits: []string{`availability_zone="a,"`}, refused: "availability_zone"},
		{example: "single", edits: []string{`availability_zone=""`}, refused: "availability_zone"},
		{example: "single", edits: []string{`availability_zone=["a"]`}, refused: "availability_zone"},
	})
}

func TestIDRules(t *testing.T) {
	const id = `"674E9B42-cd8d-4d25-a2e6-5abcc565b961"`
	for _, name := range []string{"vpc_id", "subnet_id", "security_group_id", "disk_encryption_id", "enterprise_project_id"} {
		checkRules(t, []ruleCase{
			{example: "single", edits: []string{name + "=" + id}},
			{example: "single", edits: []string{name + `="674e9b42cd8d4d25a2e65abcc565b961"`}, refused: name},
			{example: "single", edits: []string{name + `="{674e9b42-cd8d-4d25-a2e6-5abcc565b961}"`}, refused: name},
			{example: "single", edits: []string{name + `="674e9b42-cd8d-4d25-a2e6-5abcc565b96g"`}, refused: name},
			{example: "single", edits: []string{name + `=""`}, refused: name},
			{example: "single", edits: []string{name + `=1`}, refused: name},
		})
	}
	checkRules(t, []ruleCase{
		{example: "single", edits: []string{`vpc_id=`, `subnet_id=`, `security_group_id=`}, refused: "vpc_id subnet_id security_group_id"},
		{example: "single", edits: []string{`vpc_id="0"`}, refused: "vpc_id"},
		{example: "single", edits: []string{`enterprise_project_id="0"`}},
		{example: "single", edits: []string{`enterprise_project_id=0`}, refused: "enterprise_project_id"},
	})
}

func TestDedicatedCloudRules(t *testing.T) {
	fields := []string{`dss_pool_id="2d1b1c3e-pool"`, `server_group_policies=["anti-affinity"]`}
	refused := "dss_pool_id server_group_policies"
	checkRules(t, []ruleCase{
		{example: "single", edits: fields},
		{dialect: DialectHuawei, example: "single", edits: fields},
		{dialect: DialectOTC, example: "single", edits: fields, refused: refused},
		{dialect: DialectFlexibleEngine, example: "single", edits: fields, refused: refused},
		{dialect: DialectHuawei2020, example: "single", edits: fields, refused: refused},
		{example: "single", edits: []string{`dss_pool_id=""`, `server_group_policies=[]`}, refused: refused},
		{example: "single", edits: []string{`server_group_policies=["affinity"]`}, refused: "server_group_policies[0]"},
		{example: "single", edits: []string{`server_group_policies="anti-affinity"`}, refused: "server_group_policies"},
		{example: "single", edits: []string{`server_group_policies=["anti-affinity","anti-affinity"]`}, refused: "server_group_policies"},
	})
}
