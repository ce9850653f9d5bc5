"""The Ray processes: plain classes of one role each, and the one place that makes them remote."""
