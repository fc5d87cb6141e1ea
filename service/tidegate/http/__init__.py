"""HTTP/1.1 on both sides of the service. Nothing here knows of limits or of Claude."""
