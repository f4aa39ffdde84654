"""A module of handlers that cannot be imported."""

raise ValueError("not today")
