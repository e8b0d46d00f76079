"""Sessions: the state of one visitor's play, its viewers, and admission."""
