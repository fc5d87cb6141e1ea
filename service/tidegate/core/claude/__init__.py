"""Facts about the Claude API as pure functions: headers, times, errors, spend caps, and which calls share a limit.

Nothing here has state. Each module names its source in the documentation.
"""
