"""Decide: pure functions from three states to one plan."""
