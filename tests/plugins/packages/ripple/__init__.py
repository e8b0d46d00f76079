"""A plugin as its author would write it from the documents: a model of its own, found by entry points."""
