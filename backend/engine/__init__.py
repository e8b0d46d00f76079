"""The model's thread: the work queue, fair sharing, and one session's rollout on it."""
