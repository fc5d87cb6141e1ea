"""One limited dimension of a pool: its token bucket, and what corrects the level of that bucket."""
