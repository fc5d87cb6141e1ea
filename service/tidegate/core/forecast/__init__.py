"""Predicts how long a request will wait.

`WaitForecast` is the entry. It computes a wait from queue and quota, and corrects it by real waits.
"""
