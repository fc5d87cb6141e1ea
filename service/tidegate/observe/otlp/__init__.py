"""Export over OTLP: what all signals have in common, metrics, and logs."""
