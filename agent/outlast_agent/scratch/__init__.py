"""Where checkpoints are written on this machine: in memory, on a local disk, or on the OS disk."""
