package provision

const (
	uuidShape = `[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}`
	zoneShape = `[A-Za-z0-9][A-Za-z0-9_.-]{0,62}`
)

var (
	uuidRule          = matching(`^`+uuidShape+`$`, "a UUID like 674e9b42-cd8d-4d25-a2e6-5abcc565b961")
	enterpriseProject = matching(`^(0|`+uuidShape+`)$`, `"0" for the default project, or a UUID`)

	oneZone   = matching(`^`+zoneShape+`$`, "one availability zone")
	someZones = matching(`^`+zoneShape+`(,`+zoneShape+`)*$`,
		"one availability zone, or several with commas between and no spaces")
)

// availabilityZone may be a list, but a dedicated cloud is in one zone.
func availabilityZone(c *checker, n *node) {
	if c.offer.severalZones && !c.dedicated {
		someZones(c, n)
	} else {
		oneZone(c, n)
	}
}

func serverGroupPolicies(c *checker, n *node) {
	c.each(n, 1, 1, `["anti-affinity"]`, oneOf("anti-affinity"))
}
