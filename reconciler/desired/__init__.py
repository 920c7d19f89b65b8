"""Bytes to typed desired state, or errors with file:line:col."""
