"""`make stack`: Tidegate before a simulator, under a lively load, watched by Prometheus and Alertmanager."""
