"""What failures of the upstream lead to: circuits, probes, a concurrency limit and a retry budget."""
