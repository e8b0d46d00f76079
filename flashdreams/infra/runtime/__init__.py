"""Mechanisms around a pipeline: loading, copies of state, side stream, accelerated steps."""
