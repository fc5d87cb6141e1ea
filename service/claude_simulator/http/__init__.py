"""The HTTP side of the simulated API: the ASGI application, its routes, headers and bodies."""
