"""Faults of the installation that only its operator can mend. Nothing fails yet because of them."""
