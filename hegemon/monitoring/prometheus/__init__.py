"""What Prometheus is given: recording rules, alerts, service level objectives, and examples of its configuration.

`rules.yml` and `alerts.yml` are written from the tables here by `python -m hegemon.monitoring.export`.
"""
