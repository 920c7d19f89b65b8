"""Carry out a plan, one attempt per action."""
