"""Where the state of pools lives: in memory, later shared between replicas."""
