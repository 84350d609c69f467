"""What pages of the book show besides figures: source code of the package, and sound.

Source is printed from the package and never pasted, so that a page cannot fall behind the code.
"""

import ast
import base64
import html
import inspect
import io
import textwrap
from collections.abc import Callable
from typing import Any

import soundfile
from IPython.display import HTML, Markdown
from jaxtyping import Float
from torch import Tensor

__all__ = ["audio_player", "show_source"]


def show_source(thing: Callable[..., Any], docstrings: bool = True) -> Markdown:
    """Show the source of a function, method or class as highlighted code.

    Args:
        thing: What is shown.
        docstrings: Whether to keep the docstrings.

    Returns:
        The code, for the last line of a cell.
    """
    source = textwrap.dedent(inspect.getsource(thing))
    if not docstrings:
        source = without_docstrings(source)
    return Markdown(f"```python\n{source.rstrip()}\n```")


def without_docstrings(source: str) -> str:
    """Take the docstrings out of Python source and leave every other line as it is.

    Args:
        source: Source that parses.

    Returns:
        The shorter source.

    >>> print(without_docstrings('def one():\\n    \"\"\"Say one.\"\"\"\\n    return 1'))
    def one():
        return 1
    """
    lines = source.splitlines()
    dropped: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        first = node.body[0]
        if ast.get_docstring(node, clean=False) is None or len(node.body) == 1:
            continue
        end = first.end_lineno or first.lineno
        dropped.update(range(first.lineno - 1, end))
        if end < len(lines) and not lines[end].strip():
            dropped.add(end)
    return "\n".join(line for number, line in enumerate(lines) if number not in dropped)


def audio_player(samples: Float[Tensor, "samples"], sample_rate: int, label: str) -> HTML:
    """Put a recording into the page itself, so that it plays with no network and from a disk.

    Args:
        samples: Mono sound in [-1, 1].
        sample_rate: Samples a second.
        label: What is heard, for readers who do not see or hear the player.

    Returns:
        The player, for the last line of a cell.

    Raises:
        ValueError: The samples are not one channel.
    """
    if samples.ndim != 1:
        raise ValueError(f"samples must have shape (samples,), got {tuple(samples.shape)}")
    file = io.BytesIO()
    soundfile.write(file, samples.detach().cpu().numpy(), sample_rate, format="WAV")
    data = base64.b64encode(file.getvalue()).decode()
    return HTML(
        f'<audio controls aria-label="{html.escape(label, quote=True)}" '
        f'src="data:audio/wav;base64,{data}"></audio>'
    )
