"""Turns a prompt into a validated document: asks Claude, checks the answer, and has it repaired once.

`AIClient` and `POST /api/workflows/generate` use it. The checks of workflow documents are in `dsl`.
"""
