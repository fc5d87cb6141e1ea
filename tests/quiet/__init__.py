"""Runs the service without a fault under the shipped rules, and lists the alerts that were pending or fired."""
