"""Tools of a deep-learning course: data, networks, training, exercises and the book itself.

Import from a room of the package, for example ``from coursekit.training import Trainer``.
"""

__version__ = "0.1.0"
