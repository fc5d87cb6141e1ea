"""Faults in a running service, and the alerts that tell of them."""
