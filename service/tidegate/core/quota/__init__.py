"""The quota of a pool in all dimensions: what it admits now, and what responses teach it.

`Quota` is the entry; the other modules are its parts.
"""
