"""Replaces the running process by a new one on the same machine, without a refused or cut call.

`new_process.py` takes over from `old_process.py`, in the steps that `protocol.py` describes. `saved_state.py` carries
the state over a restart without a take-over. The service uses all of them by `Continuity`.
"""

from tidegate.cli.hand_over.continuity import Continuity

__all__ = ["Continuity"]
