package provision

import "slices"

var datastoreFields = []field{
	{"type", required, datastoreType},
	{"version", required, datastoreVersion},
	{"storage_engine", required, storageEngine},
}

func datastoreType(c *checker, n *node) {
	if c.offer.enhanced {
		oneOf(community, enhanced)(c, n)
	} else {
		oneOf(community)(c, n)
	}
}

func datastoreVersion(c *checker, n *node) {
	if c.enhanced {
		oneOf("3.4")(c, n)
	} else {
		oneOf(c.offer.versions...)(c, n)
	}
}

// storageEngine follows from edition and version. Versions compare as text.
func storageEngine(c *checker, n *node) {
	switch {
	case c.enhanced:
		oneOf(rocksDB)(c, n)
	case !slices.Contains(c.offer.versions, c.version):
		oneOf(wiredTiger, rocksDB)(c, n)
	case c.version <= "4.0":
		oneOf(wiredTiger)(c, n)
	default:
		oneOf(rocksDB)(c, n)
	}
}

func modeRule(c *checker, n *node) {
	switch {
	case c.enhanced:
		oneOf(sharding)(c, n)
	case c.version == "5.0" && !c.offer.single50:
		oneOf(sharding, replicaSet)(c, n)
	default:
		oneOf(sharding, replicaSet, single)(c, n)
	}
}

func communityOnly(c *checker) (must bool, mustNot string) {
	if c.enhanced {
		return false, "nothing: " + enhanced + " has no disk encryption"
	}
	return false, ""
}

// poolFields describe the volume that all shards of DDS-Enhanced share.
var poolFields = []field{
	{"size", required, numberIn(poolSize, " (GB)")},
}

func enhancedOnly(c *checker) (must bool, mustNot string) {
	if c.enhanced {
		return true, ""
	}
	return false, "nothing: only " + enhanced + " has a shared volume; give flavor[].size"
}
