"""Tenants: each caller, or each team, sees and changes only the objects that it created.

An object is whatever an id of the API names: a batch, a file, a skill, a session, an agent. Used only with a ledger.
"""
