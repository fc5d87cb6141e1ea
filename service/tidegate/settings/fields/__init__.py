"""The types of settings, their ranges and conversions, and the base class that documents each field."""
