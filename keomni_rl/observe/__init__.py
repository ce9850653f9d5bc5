"""What a run leaves for people: metrics, rollouts to read, events, progress, the report."""
