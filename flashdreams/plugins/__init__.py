"""How other packages bring runners and worlds of their own."""
