package ddsfake

import (
	"bytes"
	"strconv"
)

// number takes what the service takes for a number: 2 or "2" (dds-api.md §2.4). What is neither is kept as it came, so that
// the field's own error code answers it.
type number struct{ text string }

func (n *number) UnmarshalJSON(raw []byte) error {
	if string(raw) != "null" {
		n.text = string(bytes.Trim(raw, `"`))
	}
	return nil
}

func (n number) given() bool { return n.text != "" }

// in returns the number if it is a whole one from low to high.
func (n number) in(low, high int) (int, bool) {
	v, err := strconv.Atoi(n.text)
	return v, err == nil && low <= v && v <= high
}

// createBody is the body of create, dds-api.md §2.2.
type createBody struct {
	Name                string          `json:"name"`
	Datastore           datastore       `json:"datastore"`
	Region              string          `json:"region"`
	Zone                string          `json:"availability_zone"`
	VPC                 string          `json:"vpc_id"`
	Subnet              string          `json:"subnet_id"`
	SecurityGroup       string          `json:"security_group_id"`
	Port                number          `json:"port"`
	Password            string          `json:"password"`
	Key                 string          `json:"disk_encryption_id"`
	Mode                string          `json:"mode"`
	Configurations      []configuration `json:"configurations"`
	Flavor              []flavor        `json:"flavor"`
	Storage             *sharedStorage  `json:"storage"`
	Backup              *backupStrategy `json:"backup_strategy"`
	EnterpriseProject   string          `json:"enterprise_project_id"`
	SSL                 string          `json:"ssl_option"`
	ServerGroupPolicies []string        `json:"server_group_policies"`
	Tags                []Tag           `json:"tags"`
	Charge              *chargeInfo     `json:"charge_info"`
	RestorePoint        *struct{}       `json:"restore_point"`
}

type datastore struct {
	Type    string `json:"type"`
	Version string `json:"version"`
	Engine  string `json:"storage_engine"`
}

type configuration struct {
	Type string `json:"type"`
	ID   string `json:"configuration_id"`
}

type flavor struct {
	Type    string `json:"type"`
	Num     number `json:"num"`
	Storage string `json:"storage"`
	Size    number `json:"size"`
	Spec    string `json:"spec_code"`
}

type sharedStorage struct {
	Size number `json:"size"`
}

type backupStrategy struct {
	StartTime string `json:"start_time"`
	KeepDays  number `json:"keep_days"`
}

// Tag is a key and a value that the creator put on an instance.
type Tag struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

type chargeInfo struct {
	Mode       string `json:"charge_mode"`
	PeriodType string `json:"period_type"`
	PeriodNum  number `json:"period_num"`
	AutoRenew  bool   `json:"is_auto_renew"`
	AutoPay    bool   `json:"is_auto_pay"`
}

// The modes, and the edition that shares its storage.
const (
	sharding   = "Sharding"
	replicaSet = "ReplicaSet"
	single     = "Single"

	community = "DDS-Community"
	enhanced  = "DDS-Enhanced"
)

func modes() []string { return []string{sharding, replicaSet, single} }

func (b *createBody) enhanced() bool { return b.Datastore.Type == enhanced }

func (b *createBody) prepaid() bool { return b.Charge != nil && b.Charge.Mode == "prePaid" }
