"""The daemon on each spot machine: it keeps one job's training alive and its work durable."""
