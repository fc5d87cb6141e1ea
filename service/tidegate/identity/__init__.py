"""Who calls: callers, their keys, and who may do what; one `identify` for every route."""
