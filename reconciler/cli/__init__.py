"""The command line: verbs, one module per group."""
