"""The HTTP/1.1 server: runs an ASGI application, with bounds on what a client may do to a connection."""
