"""Whole clusters in one thread and in virtual time: production code over a simulated network and simulated stores."""
