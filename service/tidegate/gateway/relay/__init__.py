"""Relays the response to the client, and reads its usage on the way."""
