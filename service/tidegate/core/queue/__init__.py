"""Decides who of those that wait goes next: fair queueing, priority classes and caps."""
