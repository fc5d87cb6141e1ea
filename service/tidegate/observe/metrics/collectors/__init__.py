"""Metrics of state that is read at each scrape, and of the process itself."""
