"""The page `/usage`, which a manager can read: HTML without a script, from the figures of the ledger.

`page.py` puts it together. `style.css` is its only other file.
"""
