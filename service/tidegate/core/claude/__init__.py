"""Facts about the Claude API as pure functions: header names, rate-limit headers, failures, rate-limit groups."""
