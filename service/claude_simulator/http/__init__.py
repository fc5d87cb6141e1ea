"""The HTTP side of the simulated API: routes, headers and bodies."""
