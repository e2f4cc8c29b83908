"""Where eviction notices come from, one file for each cloud."""
