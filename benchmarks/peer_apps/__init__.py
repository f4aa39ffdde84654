"""One small application for each peer: a no-op task, and `python FILE COUNT` to enqueue it. Each runs in the virtual
environment of its peer and imports nothing of Hegemon. The store is REDIS; CONCURRENCY is what the sweep varies.
"""
