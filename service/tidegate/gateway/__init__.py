"""The byte-faithful relay for `/v1/…`."""
