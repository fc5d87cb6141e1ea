"""The older import path: everything here is re-exported from `tidegate`."""
