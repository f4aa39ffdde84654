"""The REST API of a node: thin HTTP over the ports of `hegemon.cluster.ports`."""
