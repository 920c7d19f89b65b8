"""Look at everything that matters, in parallel, with deadlines."""
