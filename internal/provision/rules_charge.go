package provision

// charge is what the rules of charge_info depend on.
type charge struct {
	prePaid bool
	yearly  bool
}

var chargeFields = []field{
	{"charge_mode", optional, oneOf(prePaid, postPaid)},
	{"period_type", withPrePaid, oneOf("month", "year")},
	{"period_num", withPrePaid, periodNum},
	{"is_auto_renew", optional, boolean},
	{"is_auto_pay", optional, boolean},
}

func chargeInfo(c *checker, n *node) {
	chargeMode, _ := n.get("charge_mode").text()
	period, _ := n.get("period_type").text()
	c.charge = charge{prePaid: chargeMode == prePaid, yearly: period == "year"}
	object(chargeFields)(c, n)
}

// withPrePaid: an order has a period.
func withPrePaid(c *checker) (must bool, mustNot string) { return c.charge.prePaid, "" }

// periodNum is a number only; the strings of dds-api.md §2.4 do not reach here.
func periodNum(c *checker, n *node) {
	allowed := between(1, 9)
	if c.charge.yearly {
		allowed = between(1, 3)
	}
	if value, ok := n.whole(); !ok || n.kind != numberNode || !allowed.has(value) {
		c.refuse(n, allowed.String()+", as a number")
	}
}
