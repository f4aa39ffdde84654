"""The tests; `tests.conftest` brings real stores, `tests.waiting` the one way to wait."""
