"""For those who run the broker: liveness, readiness, metrics."""
