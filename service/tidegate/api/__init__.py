"""The HTTP routes under `/api`, health, metrics and documentation (FastAPI), and the dispatcher in front of them."""
