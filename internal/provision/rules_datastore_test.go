package provision

import (
	"slices"
	"testing"
)

func TestVersionsByDialect(t *testing.T) {
	engines := map[string]string{"3.2": wiredTiger, "3.4": wiredTiger, "4.0": wiredTiger, "4.2": rocksDB, "4.4": rocksDB, "5.0": rocksDB}
	for dialect, allowed := range map[Dialect][]string{
		DialectUnion:          {"3.2", "3.4", "4.0", "4.2", "4.4", "5.0"},
		DialectHuawei:         {"3.4", "4.0", "4.2", "4.4", "5.0"},
		DialectOTC:            {"4.0", "4.2", "4.4", "5.0"},
		DialectFlexibleEngine: {"3.4", "4.0", "4.2"},
		DialectHuawei2020:     {"3.2", "3.4", "4.0"},
	} {
		for version, engine := range engines {
			edits := []string{
				`datastore.version="` + version + `"`, `datastore.storage_engine="` + engine + `"`,
				`mode="Sharding"`, `availability_zone="a"`, `backup_strategy.start_time="08:00-09:00"`,
			}
			refused := ""
			if !slices.Contains(allowed, version) {
				refused = "datastore.version"
			}
			checkRules(t, []ruleCase{{dialect, "cluster", edits, refused}})
		}
	}
}

func TestDatastoreRules(t *testing.T) {
	checkRules(t, []ruleCase{
		{example: "single", edits: []string{`datastore=`}, refused: "datastore"},
		{example: "single", edits: []string{`datastore="DDS-Community"`}, refused: "datastore"},
		{example: "single", edits: []string{`datastore={}`}, refused: "datastore.type datastore.version datastore.storage_engine"},
		{example: "single", edits: []string{`datastore.type="dds-community"`}, refused: "datastore.type"},
		{example: "single", edits: []string{`datastore.type="MongoDB"`}, refused: "datastore.type"},
		{example: "single", edits: []string{`datastore.version=4.0`}, refused: "datastore.version"},
		{example: "single", edits: []string{`datastore.version="4.1"`}, refused: "datastore.version"},
		{example: "single", edits: []string{`datastore.storage_engine="rocksDB"`}, refused: "datastore.storage_engine"},
		{example: "single", edits: []string{`datastore.version="4.2"`}, refused: "datastore.storage_engine"},
		{example: "single", edits: []string{`datastore.version="9"`, `datastore.storage_engine="x"`}, refused: "datastore.version datastore.storage_engine"},
	})
}

func TestModeRules(t *testing.T) {
	fifty := []string{`datastore.version="5.0"`, `datastore.storage_engine="rocksDB"`}
	checkRules(t, []ruleCase{
		{example: "single", edits: []string{`mode=`}, refused: "mode"},
		{example: "single", edits: []string{`mode="single"`}, refused: "mode"},
		{example: "single", edits: fifty},
		{dialect: DialectHuawei, example: "single", edits: fifty},
		{dialect: DialectOTC, example: "single", edits: fifty, refused: "mode"},
		{dialect: DialectOTC, example: "replicaset", edits: fifty},
		{dialect: DialectOTC, example: "single"},
	})
}

func TestEnhancedRules(t *testing.T) {
	checkRules(t, []ruleCase{
		{example: "enhanced"},
		{dialect: DialectHuawei2020, example: "enhanced"},
		{dialect: DialectHuawei, example: "enhanced", refused: "datastore.type"},
		{dialect: DialectOTC, example: "enhanced", edits: []string{`backup_strategy=`}, refused: "datastore.type"},
		{dialect: DialectFlexibleEngine, example: "enhanced", refused: "datastore.type"},
		{example: "enhanced", edits: []string{`datastore.version="4.0"`}, refused: "datastore.version"},
		{example: "enhanced", edits: []string{`datastore.storage_engine="wiredTiger"`}, refused: "datastore.storage_engine"},
		{example: "enhanced", edits: []string{`mode="ReplicaSet"`, `flavor[0].type="replica"`, `flavor[0].num=1`, `flavor[0].size=20`}, refused: "mode"},
		{example: "enhanced", edits: []string{`disk_encryption_id="d4825f1b-5e47-4ff7-8ca9-0960da1770b1"`}, refused: "disk_encryption_id"},
		{example: "enhanced", edits: []string{`storage=`}, refused: "storage"},
		{example: "enhanced", edits: []string{`storage={}`}, refused: "storage.size"},
		{example: "enhanced", edits: []string{`storage=500`}, refused: "storage"},
		{example: "enhanced", edits: []string{`storage.size=100`}},
		{example: "enhanced", edits: []string{`storage.size="1000"`}},
		{example: "enhanced", edits: []string{`storage.size=90`}, refused: "storage.size"},
		{example: "enhanced", edits: []string{`storage.size=1010`}, refused: "storage.size"},
		{example: "enhanced", edits: []string{`storage.size=505`}, refused: "storage.size"},
		{example: "cluster", edits: []string{`storage={"size":500}`}, refused: "storage"},
		{example: "enhanced", edits: []string{`flavor[0].num=12`}},
		{example: "enhanced", edits: []string{`flavor[0].num=13`}, refused: "flavor[0].num"},
		{example: "enhanced", edits: []string{`flavor[0].num=1`}, refused: "flavor[0].num"},
		{example: "enhanced", edits: []string{`flavor[0].size=20`}, refused: "flavor[0].size"},
		{example: "enhanced", edits: []string{`flavor[0].storage="ULTRAHIGH"`}, refused: "flavor[0].storage"},
		{example: "enhanced", edits: []string{`flavor[1]={"type":"mongos","num":2,"spec_code":"dds.container.c3.large.2.mongos"}`}, refused: "flavor[1].type"},
	})
}
