"""The routes under `/api`, the health checks and the docs: one router for each group."""
