"""The composition root: creates the parts of the service from the settings, connects them and reloads their settings.

`services.py` connects all parts. Commands that work on the ledger or the shared store open them with the same modules.
"""
