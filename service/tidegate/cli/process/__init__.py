"""A server process and its operating system: event loop, signals, listening sockets, memory and systemd."""
