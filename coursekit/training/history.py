"""The table of what a training run reported."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["History"]


class History:
    """What a training run reported: one row for each evaluation.

    Example:
        >>> history = History([{"step": 10, "epoch": 1, "loss": 0.5}])
        >>> history.column("loss")
        [0.5]
    """

    def __init__(self, rows: Iterable[Mapping[str, float]] = ()) -> None:
        self.rows: list[dict[str, float]] = [dict(row) for row in rows]

    @property
    def last(self) -> dict[str, float]:
        """The latest row."""
        if not self.rows:
            raise ValueError("history has no rows yet: call fit first")
        return self.rows[-1]

    @property
    def columns(self) -> list[str]:
        """Names of all columns, in the order in which they came."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    def column(self, name: str) -> list[float]:
        """Return one column, row by row.

        Raises:
            ValueError: if there is no such column.
        """
        if name not in self.columns:
            raise ValueError(f"name must be one of {self.columns}, got {name!r}")
        return [row[name] for row in self.rows]

    def plot(self, ax: Any = None, columns: Sequence[str] | None = None) -> Any:
        """Draw columns against the step.

        Args:
            ax: matplotlib axes; new ones when None.
            columns: names of the columns to draw; the losses when None.

        Returns:
            The axes.
        """
        import matplotlib.pyplot as plt

        if ax is None:
            _, ax = plt.subplots()
        if columns is None:
            columns = [name for name in self.columns if name.endswith("loss")]
        for name in columns:
            ax.plot(self.column("step"), self.column(name), label=name.replace("_", " "))
        ax.set_xlabel("step (updates of the parameters)")
        ax.set_ylabel("loss" if all(name.endswith("loss") for name in columns) else "value")
        ax.legend()
        return ax

    def write_csv(self, path: str | Path) -> None:
        """Write the table as comma-separated values, one line a row.

        Args:
            path: the file; its folder is made.
        """
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with Path(path).open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, self.columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        cells = [self.columns, *self._formatted()]
        widths = [max(len(line[k]) for line in cells) for k in range(len(self.columns))]
        lines = ["  ".join(f"{c:>{w}}" for c, w in zip(row, widths, strict=True)) for row in cells]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name.replace('_', ' ')}</th>" for name in self.columns)
        body = "".join(
            "<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>"
            for row in self._formatted()
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def _formatted(self) -> list[list[str]]:
        return [[_format(row.get(name)) for name in self.columns] for row in self.rows]


def _format(value: float | None) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else f"{value:.4f}"
