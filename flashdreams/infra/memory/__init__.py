"""Memory use: the plan made before loading, the tracker that counts it, and offload to the CPU."""
