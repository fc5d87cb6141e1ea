"""The rate limits of the simulated API, and what a denied request is told."""
