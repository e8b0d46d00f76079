"""A demo that runs alone: its settings file, clips for visitors to take along, and a guard against bad pictures."""
