"""The last minute of events: counts that forget what is older. Time is an argument."""
