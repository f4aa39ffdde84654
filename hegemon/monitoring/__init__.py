"""Events, metrics and logs: they listen, and nothing in the engine depends on them."""
