"""Faults in a running service, and the alerts that they must trigger."""
