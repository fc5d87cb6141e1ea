"""HTTP/1.1 on both sides of the service: the server for clients, and the client of the upstream.

Nothing here knows about limits or Claude.
"""
