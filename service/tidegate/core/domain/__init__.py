"""Values that all other parts speak of: costs, callers, causes, errors, events, demands and snapshots."""
