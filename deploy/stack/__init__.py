"""`make stack`: Tidegate with a simulator, a load generator, Prometheus and Alertmanager."""
