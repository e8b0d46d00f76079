"""The world contract: one step of a playable model per chunk, and worlds built on pipelines or on several processes."""
