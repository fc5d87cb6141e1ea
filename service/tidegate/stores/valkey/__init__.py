"""The shared store: a log in Valkey or Redis, which the core folds."""
