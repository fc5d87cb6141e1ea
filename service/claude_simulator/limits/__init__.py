"""Rate limits: buckets, pools, the quota under a scenario, rate-limit headers, and the errors of rejected requests."""
