"""Scenarios: limits, latency, and the events that change them over time, such as outages, competitors and faults."""
