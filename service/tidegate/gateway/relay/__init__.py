"""Relays the response to the client, and reads its usage from a copy of its bytes."""
