"""The content of each dashboard: its rows of panels."""
