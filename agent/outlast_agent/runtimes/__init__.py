"""Where the command runs: a container of the Docker engine, or a bare process group."""
