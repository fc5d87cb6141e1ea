"""Compares our HTTP with that of others: equal bytes must give equal requests and responses, or a listed difference."""
