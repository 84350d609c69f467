"""Errors that a user can mend; the command line shows them as one line."""


class UserError(Exception):
    """A problem whose message says what the user can do about it."""
