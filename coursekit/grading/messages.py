"""The message under a check: one text for the terminal, the notebook and the command line."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from typing import Any

MIME = "application/vnd.coursekit.check+json"

# Colors of the bar at the left; both can be told from a white and from a black page. The words
# say the same, so nothing depends on them.
_BARS = {"passed": "#2a9d5c", "failed": "#d1495b", "note": "#7a8290"}


@dataclass(frozen=True)
class Message:
    """What a check says.

    Args:
        status: "passed", "failed" or "note".
        title: one line.
        kind: the check ("close", "points", …), for programs.
        facts: (label, text) pairs, a text of one or more lines.
        data: further entries for programs.
    """

    status: str
    title: str
    kind: str
    facts: tuple[tuple[str, str], ...] = ()
    data: dict[str, Any] = field(default_factory=dict)

    @property
    def headline(self) -> str:
        """The first line, which begins with "passed:" or "failed:" if something was checked."""
        return self.title if self.status == "note" else f"{self.status}: {self.title}"

    def __repr__(self) -> str:
        width = max((len(label) for label, _ in self.facts), default=0)
        lines = [self.headline]
        for label, text in self.facts:
            first, *rest = text.split("\n")
            lines.append(f"    {label:<{width}}  {first}".rstrip())
            lines.extend(f"    {'':<{width}}  {line}".rstrip() for line in rest)
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = "".join(
            '<tr style="background: transparent">'
            '<th scope="row" style="padding: 0 1em 0 0; text-align: left; vertical-align: top; '
            f'font-weight: normal; opacity: 0.8; color: inherit">{html.escape(label)}</th>'
            '<td style="padding: 0; text-align: left; color: inherit">'
            '<pre style="margin: 0; padding: 0; background: transparent; color: inherit; '
            f'white-space: pre-wrap">{html.escape(text)}</pre></td></tr>'
            for label, text in self.facts
        )
        table = (
            '<table style="margin: 0.3em 0 0 0; border: none; border-collapse: collapse; '
            f'background: transparent; color: inherit">{rows}</table>'
            if rows
            else ""
        )
        weight = "bold" if self.status == "failed" else "normal"
        return (
            f'<div style="border-left: 4px solid {_BARS[self.status]}; padding: 0.2em 0 0.2em '
            '0.8em; margin: 0.2em 0; color: inherit; background: transparent">'
            f'<div style="font-weight: {weight}">{html.escape(self.headline)}</div>{table}</div>'
        )

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {
            "text/plain": repr(self),
            "text/html": self._repr_html_(),
            MIME: {
                "schema": 1,
                "status": self.status,
                "kind": self.kind,
                "title": self.title,
                "facts": [list(fact) for fact in self.facts],
                **self.data,
            },
        }

    def show(self) -> None:
        """Publish the message; outside IPython the plain text is printed."""
        from IPython.display import display  # half a second, of no use to grading

        display(self)
