"""Who may do what: keys, pauses and the owners of objects."""
