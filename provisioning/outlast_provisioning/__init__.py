"""The controller and the command line: ask for machines, ask again, leave nothing behind."""
