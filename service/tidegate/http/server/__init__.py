"""The HTTP/1.1 server: runs an ASGI application, with limits on what a client may do to a connection."""
