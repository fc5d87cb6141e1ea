"""Deployment: container image, monitoring configuration, and a local stack to try them."""
