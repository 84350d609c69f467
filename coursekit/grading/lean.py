"""nbformat, without a grammar that takes 1.4 seconds to build and that no notebook needs.

nbformat validates by jsonschema, which imports rfc3987_syntax where it is installed, to check
internationalized addresses; that import builds a parser. The schema of notebooks has no such
format.
"""

from __future__ import annotations

import sys

_GRAMMAR = "rfc3987_syntax"
_unused = _GRAMMAR not in sys.modules
if _unused:
    sys.modules[_GRAMMAR] = None  # type: ignore[assignment]  # then jsonschema goes without it
try:
    import nbformat
    from nbformat import NotebookNode
finally:
    if _unused:
        del sys.modules[_GRAMMAR]

__all__ = ["NotebookNode", "nbformat"]
