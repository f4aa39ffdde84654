"""Domain events: what happened to nodes, elections, workers, jobs, stores and credentials, told once by who knows it.

`table` names every kind, `bus` carries them to whoever listens. Nothing here knows the engine or a subscriber.
"""
