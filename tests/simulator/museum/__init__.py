"""Planted bugs, by what they are about: each is a mistake that somebody might make."""
