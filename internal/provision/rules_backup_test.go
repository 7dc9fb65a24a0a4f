package provision

import "testing"

func TestBackupRules(t *testing.T) {
	start := func(at string) []string { return []string{`backup_strategy.start_time="` + at + `"`} }
	checkRules(t, []ruleCase{
		{example: "single", edits: []string{`backup_strategy=`}},
		{example: "single", edits: []string{`backup_strategy={}`}, refused: "backup_strategy.start_time"},
		{example: "single", edits: []string{`backup_strategy="08:00-09:00"`}, refused: "backup_strategy"},
		{example: "single", edits: start("00:00-01:00")},
		{example: "single", edits: start("23:00-00:00")},
		{example: "single", edits: start("23:45-00:45")},
		{example: "single", edits: start("09:30-10:30")},
		{example: "single", edits: start("08:10-09:10"), refused: "backup_strategy.start_time"},
		{example: "single", edits: start("08:00-08:00"), refused: "backup_strategy.start_time"},
		{example: "single", edits: start("08:00-10:00"), refused: "backup_strategy.start_time"},
		{example: "single", edits: start("08:00-09:15"), refused: "backup_strategy.start_time"},
		{example: "single", edits: start("8:00-9:00"), refused: "backup_strategy.start_time"},
		{example: "single", edits: start("23:00-24:00"), refused: "backup_strategy.start_time"},
		{example: "single", edits: start("24:00-01:00"), refused: "backup_strategy.start_time"},
		{example: "single", edits: start("08:00"), refused: "backup_strategy.start_time"},
		{example: "single", edits: []string{`backup_strategy.start_time=8`}, refused: "backup_strategy.start_time"},
		{dialect: DialectHuawei, example: "single", edits: start("08:45-09:45")},
		{dialect: DialectHuawei2020, example: "single", edits: start("08:15-09:15")},
		{dialect: DialectFlexibleEngine, example: "single", edits: start("08:15-09:15")},
		{dialect: DialectOTC, example: "single", edits: start("08:00-09:00")},
		{dialect: DialectOTC, example: "single", edits: start("08:15-09:15"), refused: "backup_strategy.start_time"},
		{example: "single", edits: []string{`backup_strategy.keep_days=`}},
		{example: "single", edits: []string{`backup_strategy.keep_days=0`}},
		{example: "single", edits: []string{`backup_strategy.keep_days="732"`}},
		{example: "single", edits: []string{`backup_strategy.keep_days=733`}, refused: "backup_strategy.keep_days"},
		{example: "single", edits: []string{`backup_strategy.keep_days="-1"`}, refused: "backup_strategy.keep_days"},
		{example: "single", edits: []string{`backup_strategy.keep_days=""`}, refused: "backup_strategy.keep_days"},
		{example: "single", edits: []string{`backup_strategy.period="1,3,7"`}},
		{example: "single", edits: []string{`backup_strategy.period="0,8"`}, refused: "backup_strategy.period"},
		{example: "single", edits: []string{`backup_strategy.period=[1]`}, refused: "backup_strategy.period"},
		{example: "single", edits: []string{`backup_strategy.keepdays=1`}, refused: "backup_strategy.keepdays"},
	})
}
