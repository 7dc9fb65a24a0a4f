package provision

import (
	"fmt"
	"strings"
	"testing"
)

func TestFlavorItemsByMode(t *testing.T) {
	const replica = `{"type":"replica","num":3,"size":20,"spec_code":"dds.mongodb.c3.large.4.repset"}`
	const another = `{"type":"shard","num":2,"size":20,"spec_code":"dds.c3.medium.4.shard"}`
	checkRules(t, []ruleCase{
		{example: "cluster", edits: []string{`flavor=`}, refused: "flavor"},
		{example: "cluster", edits: []string{`flavor=[]`}, refused: "flavor"},
		{example: "cluster", edits: []string{`flavor={}`}, refused: "flavor"},
		{example: "cluster", edits: []string{`flavor[2]=`}, refused: "flavor"},
		{example: "cluster", edits: []string{`flavor[0]=`}, refused: "flavor"},
		{example: "cluster", edits: []string{`flavor[1]=`}, refused: "flavor"},
		{example: "cluster", edits: []string{`flavor[3]=` + replica}, refused: "flavor[3].type"},
		{example: "cluster", edits: []string{`flavor[3]=` + another}, refused: "flavor[3].type"},
		{example: "cluster", edits: []string{`flavor[3]="shard"`}, refused: "flavor[3]"},
		{example: "cluster", edits: []string{`flavor[0].type="router"`}, refused: "flavor flavor[0].type"},
		{example: "cluster", edits: []string{`flavor[1].type="router"`, `flavor[1].size=`}, refused: "flavor flavor[1].type"},
		{example: "cluster", edits: []string{`flavor[0].type=`}, refused: "flavor flavor[0].type"},
		{example: "cluster", edits: []string{`mode="Shard"`}, refused: "mode"},
		{example: "cluster", edits: []string{`mode="Shard"`, `flavor[1].size=5`}, refused: "mode flavor[1].size"},
		{example: "cluster", edits: []string{`mode="Shard"`, `flavor[3]=` + another}, refused: "mode flavor[3].type"},
		{example: "replicaset", edits: []string{`flavor[0].type="shard"`}, refused: "flavor flavor[0].type"},
		{example: "replicaset", edits: []string{`flavor[1]=` + strings.Replace(another, "c3", "s2", 1)}, refused: "flavor[1].type"},
		{example: "single", edits: []string{`flavor[0].type="replica"`}, refused: "flavor flavor[0].type"},
		{example: "single", edits: []string{`flavor[0].num=`, `flavor[0].spec_code=`, `flavor[0].size=`}, refused: "flavor[0].num flavor[0].spec_code flavor[0].size"},
		{example: "single", edits: []string{`flavor[0].colour="red"`}, refused: "flavor[0].colour"},
	})
}

func TestNodeNumbers(t *testing.T) {
	for _, test := range []struct {
		dialect  Dialect
		example  string
		item     int
		accepted []any
		refused  []any
	}{
		{DialectUnion, "cluster", 0, []any{2, 32, `"2"`}, []any{0, 1, 33, `"two"`, `""`, 2.5, `"2.0"`, `-2`, `[2]`}},
		{DialectUnion, "cluster", 1, []any{2, 32, `"32"`}, []any{1, 33}},
		{DialectUnion, "cluster", 2, []any{1, `"1"`}, []any{0, 2, 3}},
		{DialectHuawei, "cluster", 0, []any{2, 16}, []any{1, 17}},
		{DialectHuawei, "cluster", 1, []any{2, 16}, []any{1, 17}},
		{DialectHuawei2020, "cluster", 0, []any{2, 16}, []any{1, 17}},
		{DialectHuawei2020, "cluster", 1, []any{2, 16}, []any{1, 17}},
		{DialectFlexibleEngine, "cluster", 0, []any{2, 12}, []any{1, 13}},
		{DialectFlexibleEngine, "cluster", 1, []any{2, 12}, []any{1, 13}},
		{DialectOTC, "cluster", 0, []any{2, 32}, []any{1, 33}},
		{DialectOTC, "cluster", 1, []any{2, 32}, []any{1, 33}},
		{DialectUnion, "replicaset", 0, []any{1, 3, 5, `"7"`}, []any{0, 2, 4, 6, 9}},
		{DialectHuawei, "replicaset", 0, []any{3, 5, 7}, []any{1, 2, 9}},
		{DialectOTC, "replicaset", 0, []any{1, 3}, []any{2, 5, 7}},
		{DialectFlexibleEngine, "replicaset", 0, []any{1}, []any{2, 3, 5, 7}},
		{DialectHuawei2020, "replicaset", 0, []any{1}, []any{2, 3, 5, 7}},
		{DialectUnion, "single", 0, []any{1, `"1"`}, []any{0, 2}},
		{DialectOTC, "single", 0, []any{1}, []any{0, 2}},
	} {
		// What is alike in all dialects, so that the number alone decides.
		edits := []string{`datastore.version="4.0"`, `availability_zone="a"`, `backup_strategy=`, `port=`, `tags=`}
		path := fmt.Sprintf("flavor[%d].num", test.item)
		for _, num := range test.accepted {
			checkRules(t, []ruleCase{{test.dialect, test.example, append(edits, fmt.Sprintf("%s=%v", path, num)), ""}})
		}
		for _, num := range test.refused {
			checkRules(t, []ruleCase{{test.dialect, test.example, append(edits, fmt.Sprintf("%s=%v", path, num)), path}})
		}
	}
}

func TestDiskSizes(t *testing.T) {
	for _, test := range []struct {
		dialect  Dialect
		example  string
		item     int
		accepted []any
		refused  []any
	}{
		{DialectUnion, "cluster", 0, nil, []any{10, 20, `"20"`}},
		{DialectUnion, "cluster", 1, []any{10, 2000, `"20"`}, []any{0, 5, 15, 2010, `"x"`, 20.5, `null`}},
		{DialectUnion, "cluster", 2, []any{20, `"20"`}, []any{10, 30}},
		{DialectHuawei, "replicaset", 0, []any{10, 3000}, []any{0, 3010, 25}},
		{DialectUnion, "replicaset", 0, []any{10, `"3000"`}, []any{0, 3010, 25}},
		{DialectOTC, "replicaset", 0, []any{10, 2000}, []any{0, 2010}},
		{DialectUnion, "single", 0, []any{10, 1000}, []any{0, 1010, 999}},
	} {
		path := fmt.Sprintf("flavor[%d].size", test.item)
		for _, size := range test.accepted {
			checkRules(t, []ruleCase{{test.dialect, test.example, []string{fmt.Sprintf("%s=%v", path, size)}, ""}})
		}
		for _, size := range test.refused {
			checkRules(t, []ruleCase{{test.dialect, test.example, []string{fmt.Sprintf("%s=%v", path, size)}, path}})
		}
	}
	checkRules(t, []ruleCase{
		{example: "cluster", edits: []string{`flavor[1].size=`}, refused: "flavor[1].size"},
		{example: "cluster", edits: []string{`flavor[2].size=`}, refused: "flavor[2].size"},
		{example: "replicaset", edits: []string{`flavor[0].size=`}, refused: "flavor[0].size"},
	})
}

func TestDiskTypes(t *testing.T) {
	extreme := []string{`flavor[0].storage="EXTREMEHIGH"`}
	checkRules(t, []ruleCase{
		{example: "single", edits: extreme},
		{dialect: DialectHuawei, example: "single", edits: extreme},
		{dialect: DialectOTC, example: "single", edits: extreme, refused: "flavor[0].storage"},
		{dialect: DialectFlexibleEngine, example: "single", edits: extreme, refused: "flavor[0].storage"},
		{dialect: DialectHuawei2020, example: "single", edits: extreme, refused: "flavor[0].storage"},
		{example: "single", edits: []string{`flavor[0].storage=`}},
		{example: "single", edits: []string{`flavor[0].storage="SSD"`}, refused: "flavor[0].storage"},
		{example: "cluster", edits: []string{`flavor[0].storage="ULTRAHIGH"`}, refused: "flavor[0].storage"},
	})
}

func TestSpecCodes(t *testing.T) {
	checkRules(t, []ruleCase{
		{example: "single", edits: []string{`flavor[0].spec_code="dds.mongodb.c6.2xlarge.4.single"`}},
		{example: "single", edits: []string{`flavor[0].spec_code="dds.s3.medium.4.shard"`}},
		{example: "single", edits: []string{`flavor[0].spec_code="dds.container.kc1.large.2.single"`}},
		{example: "single", edits: []string{`flavor[0].spec_code=""`}, refused: "flavor[0].spec_code"},
		{example: "single", edits: []string{`flavor[0].spec_code="rds.mongodb.c6.large.4.single"`}, refused: "flavor[0].spec_code"},
		{example: "single", edits: []string{`flavor[0].spec_code="dds.mongodb.large.4.single"`}, refused: "flavor[0].spec_code"},
		{example: "single", edits: []string{`flavor[0].spec_code="dds.mongodb.c6.large. 4"`}, refused: "flavor[0].spec_code"},
		{example: "single", edits: []string{`flavor[0].spec_code=4`}, refused: "flavor[0].spec_code"},
		{example: "cluster", edits: []string{`flavor[1].spec_code="dds.mongodb.c3.xlarge.8.shard"`}},
		{example: "cluster", edits: []string{`flavor[1].spec_code="dds.c6.medium.4.shard"`}, refused: "flavor[1].spec_code"},
		{example: "cluster", edits: []string{`flavor[0].spec_code="dds.mongodb.s6.large.4.mongos"`}, refused: "flavor[1].spec_code flavor[2].spec_code"},
	})
}

func TestConfigurations(t *testing.T) {
	const id = `"configuration_id":"0123456789abcdef0123456789abcdefpr02"}`
	list := func(types ...string) []string {
		var items []string
		for _, name := range types {
			items = append(items, `{"type":"`+name+`",`+id)
		}
		return []string{"configurations=[" + strings.Join(items, ",") + "]"}
	}
	checkRules(t, []ruleCase{
		{example: "cluster", edits: list("mongos", "shard", "config")},
		{example: "cluster", edits: list("shard")},
		{example: "cluster", edits: list()},
		{example: "replicaset", edits: list("replica")},
		{example: "single", edits: list("single")},
		{dialect: DialectHuawei, example: "cluster", edits: list("shard")},
		{example: "cluster", edits: list("replica"), refused: "configurations[0].type"},
		{example: "single", edits: list("shard"), refused: "configurations[0].type"},
		{example: "cluster", edits: list("shard", "shard"), refused: "configurations[1]"},
		{example: "cluster", edits: []string{`configurations=[{"type":"shard","configuration_id":"0123"},7]`},
			refused: "configurations[0].configuration_id configurations[1]"},
		{example: "cluster", edits: []string{`configurations={}`}, refused: "configurations"},
		{dialect: DialectOTC, example: "single", edits: list("single"), refused: "configurations"},
		{dialect: DialectFlexibleEngine, example: "single", edits: list("single"), refused: "configurations"},
		{dialect: DialectHuawei2020, example: "single", edits: list("single"), refused: "configurations"},
	})
}
