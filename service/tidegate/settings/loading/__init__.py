"""Loads the configuration from environment variables, files and defaults, and compares it with another one."""
