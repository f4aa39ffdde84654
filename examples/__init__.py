"""Example handlers that do real work, loaded by `./dev up`; start reading in `jobs.py`."""
