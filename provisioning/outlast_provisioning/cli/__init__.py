"""The command line: thin commands over ``submit``, ``reading`` and ``controller``."""
