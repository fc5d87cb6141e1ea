"""Where the state of pools is kept: in memory, and over a restart in a file."""
