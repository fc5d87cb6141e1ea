"""Replicas on a shared store under load, while one of them, the store or the network between them fails."""
