"""Exercises: checks that explain, released notebooks, and the proof that every check works."""
