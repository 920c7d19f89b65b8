"""Decide who runs where and when: pure."""
