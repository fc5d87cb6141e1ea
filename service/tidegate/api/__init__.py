"""The FastAPI application under `/api`, and the outer dispatcher."""
