package ddsfake

// The dialects, dds-api.md §8.
const (
	Huawei         = "huawei"
	OTC            = "otc"
	FlexibleEngine = "flexibleengine"
	Huawei2020     = "huawei-2020"
)

// Dialects names all of them.
func Dialects() []string { return []string{Huawei, OTC, FlexibleEngine, Huawei2020} }

// Union is no cloud's dialect: it takes whatever one of them takes, so that all documented examples work on it.
const Union = "union"

// dialect is one column of the table in dds-api.md §8.
type dialect struct {
	versions       []string
	enhanced       bool // the edition DDS-Enhanced can be bought
	clusterMax     int  // mongos and shards: 2 to this
	replicaNums    []int
	uniqueNames    bool
	needPassword   bool
	takesPort      bool
	tags           bool // in create and in the list; elsewhere they are dropped without a word
	tagDot         bool // a tag's value may hold a dot
	prepaid        bool
	jobQuery       bool
	jobList        bool
	nullReason     bool // fail_reason of a job that did not fail is null, not ""
	backupMinutes  []string
	unknownIDError bool
	noSingle5      bool // version 5.0 has no single node
	oldCodes       bool // statuses of the 2020 table of codes
	goneCode       string
	weakPassword   string // code
}

func dialectNamed(name string) (dialect, bool) {
	quarters := []string{"00", "15", "30", "45"}
	switch name {
	case Huawei:
		return dialect{
			versions: []string{"3.4", "4.0", "4.2", "4.4", "5.0"}, clusterMax: 16, replicaNums: []int{3, 5, 7},
			takesPort: true, tags: true, tagDot: true, prepaid: true, jobQuery: true, jobList: true,
			backupMinutes: quarters, unknownIDError: true, goneCode: "DBS.280110", weakPassword: "DBS.200068",
		}, true
	case OTC:
		return dialect{
			versions: []string{"4.0", "4.2", "4.4", "5.0"}, clusterMax: 32, replicaNums: []int{1, 3},
			takesPort: true, tags: true, jobQuery: true, nullReason: true, noSingle5: true,
			backupMinutes: []string{"00"}, unknownIDError: true, goneCode: "DBS.280110", weakPassword: "DBS.200068",
		}, true
	case FlexibleEngine:
		return dialect{
			versions: []string{"3.4", "4.0", "4.2"}, clusterMax: 12, replicaNums: []int{1},
			uniqueNames: true, needPassword: true, oldCodes: true,
			backupMinutes: quarters, goneCode: "DBS.200002", weakPassword: "DBS.200052",
		}, true
	case Huawei2020:
		return dialect{
			versions: []string{"3.2", "3.4", "4.0"}, enhanced: true, clusterMax: 16, replicaNums: []int{1},
			uniqueNames: true, needPassword: true, oldCodes: true,
			backupMinutes: quarters, goneCode: "DBS.201028", weakPassword: "DBS.200052",
		}, true
	case Union:
		return dialect{
			versions: []string{"3.2", "3.4", "4.0", "4.2", "4.4", "5.0"}, enhanced: true, clusterMax: 32, replicaNums: []int{1, 3, 5, 7},
			takesPort: true, tags: true, tagDot: true, prepaid: true, jobQuery: true, jobList: true,
			backupMinutes: quarters, unknownIDError: true, goneCode: "DBS.280110", weakPassword: "DBS.200068",
		}, true
	}
	return dialect{}, false
}
