"""The older import path of `tidegate.ai_client`."""

from tidegate.ai_client import AIClient

__all__ = ["AIClient"]
