"""From a prompt to a validated workflow document."""
