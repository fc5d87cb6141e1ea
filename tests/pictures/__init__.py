"""Pictures of dashboards during faults, drawn by a program outside of this project."""
