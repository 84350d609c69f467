"""Processes that start warm: a server that has imported the course's libraries, and its forks."""
