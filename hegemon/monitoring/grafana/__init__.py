"""Dashboards for Grafana 10.1 or newer: panels as values, from which `python -m hegemon.monitoring.export` writes
`dashboards/*.json`. `provisioning/` tells Grafana where they and their data source are: at PROMETHEUS_URL of
its environment.
"""
