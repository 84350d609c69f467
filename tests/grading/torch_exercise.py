"""A torch exercise of four tasks and eight check cells, and submissions whose scores are known.

Each wrong answer carries the points that it earns in its task's public and hidden cell, worked out
by hand; `test_grading_nbgrader.py` holds them against the checks. No answer uses another's.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from building import HIDDEN_POINTS, PUBLIC_POINTS, solution_notebook, text_of

from coursekit.grading.notebook import (
    BEGIN_SOLUTION,
    END_SOLUTION,
    grade_id,
    notebook_text,
    read_exercise,
    read_notebook,
    without_regions,
    write_text,
)
from coursekit.grading.release import STUB, released_notebook

NAME = "9-trial/01-layers"

SETUP = f"""
import torch
from torch import Tensor

from coursekit.grading import check

ROWS = torch.tensor([[0.0, 1.0, 2.0], [3.0, 1.0, -1.0]])
WIDE = torch.tensor([[1.0, 5.0, 2.0, 8.0], [-3.0, 0.5, 4.0, 9.0], [2.0, 2.5, 7.0, -6.0]])

check.exercise("{NAME}")
"""

SOFTMAX = {
    "id": "softmax",
    "text points": (0, 1),  # whatever it returns, it leaves its input as it was
    "answer": '''
        def softmax(x: Tensor) -> Tensor:
            """Return the softmax of each row of x, shape (n, c), in the same shape.

            >>> softmax(torch.zeros(1, 2))
            tensor([[0.5000, 0.5000]])
            """
            ### BEGIN SOLUTION
            shifted = x - x.max(dim=1, keepdim=True).values
            exponentials = shifted.exp()
            return exponentials / exponentials.sum(dim=1, keepdim=True)
            ### END SOLUTION
        ''',
    "public": """
        check.close(softmax, cases=[(ROWS,)], reference=lambda x: torch.softmax(x, dim=1))
        check.holds(softmax, cases=[(WIDE,)], condition=lambda y, x: (y > 0).all(),
                    says="every entry is positive")
        """,
    "hidden": """
        large = torch.tensor([[1000.0, 999.0], [-1000.0, -1002.0]])
        double = torch.tensor([[0.1, 0.7, -0.4]], dtype=torch.float64)
        rowwise = lambda x: torch.softmax(x, dim=1)
        check.close(softmax, cases=[(large,)], reference=rowwise, about="large entries")
        check.close(softmax, cases=[(double,)], reference=rowwise, about="float64")
        check.unchanged(softmax, cases=[(WIDE,)])
        """,
    "mistakes": [
        (
            "def softmax(x):\n    return x.exp() / x.exp().sum(dim=0, keepdim=True)",
            "It sums over the rows: sum over dim=1.",
            (1, 1),
        ),
        (
            "def softmax(x):\n    e = x.exp()\n    return e / e.sum(1, keepdim=True)",
            "The exponential of a large entry is infinite: subtract the largest of the row first.",
            (2, 2),
        ),
        (
            """
            def softmax(x):
                x -= x.amax(dim=1, keepdim=True)
                x.exp_()
                x /= x.sum(dim=1, keepdim=True)
                return x
            """,
            "It changes its input: write x = x - x.amax(…).",
            (2, 2),
        ),
    ],
    "alternative": """
        def softmax(x):
            logarithms = x - torch.logsumexp(x, dim=1, keepdim=True)
            return logarithms.exp()
        """,
}

LAYER_NORM = {
    "id": "layer_norm",
    "answer": '''
        def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
            """Normalize each row of x, shape (n, d), then scale and shift it by shapes (d,).

            >>> layer_norm(torch.tensor([[1.0, 3.0]]), torch.ones(2), torch.zeros(2), 0.0)
            tensor([[-1.,  1.]])
            """
            ### BEGIN SOLUTION
            centered = x - x.mean(dim=1, keepdim=True)
            variance = (centered**2).mean(dim=1, keepdim=True)
            return centered / torch.sqrt(variance + eps) * weight + bias
            ### END SOLUTION
        ''',
    "public": """
        check.close(
            layer_norm,
            cases=[(WIDE, torch.tensor([1.0, 2.0, 0.5, 1.0]), torch.ones(4), 1e-5)],
            reference=lambda x, w, b, eps: torch.nn.functional.layer_norm(x, (4,), w, b, eps),
        )
        """,
    "hidden": """
        library = lambda x, w, b, eps: torch.nn.functional.layer_norm(x, w.shape, w, b, eps)
        narrow, scale, shift = 0.01 * ROWS, torch.tensor([2.0, 1.0, -1.0]), torch.arange(3.0)
        check.close(layer_norm, cases=[(narrow, scale, shift, 0.1)], reference=library)
        check.gradient(layer_norm, cases=[(ROWS, scale, shift, 1e-3)], wrt=(0, 1, 2),
                       reference=library)
        """,
    "mistakes": [
        (
            """
            def layer_norm(x, weight, bias, eps):
                mean, var = x.mean(1, keepdim=True), x.var(1, keepdim=True)
                return (x - mean) / (var + eps).sqrt() * weight + bias
            """,
            "Divide the squares by d, not d - 1: give var correction=0.",
            (0, 0),
        ),
        (
            """
            def layer_norm(x, weight, bias, eps):
                var, mean = torch.var_mean(x, dim=1, correction=0, keepdim=True)
                return (x - mean) / (var.sqrt() + eps) * weight + bias
            """,
            "Add eps to the variance, before the root.",
            (2, 0),
        ),
        (
            """
            def layer_norm(x, weight, bias, eps):
                fixed = x.detach()
                var, mean = torch.var_mean(fixed, dim=1, correction=0, keepdim=True)
                return (x - mean) / (var + eps).sqrt() * weight + bias
            """,
            "Mean and variance depend on x: do not detach them.",
            (2, 1.5),
        ),
    ],
    "alternative": """
        def layer_norm(x, weight, bias, eps):
            rows = []
            for row in x:
                middle = row.sum() / len(row)
                spread = ((row - middle) ** 2).sum() / len(row)
                rows.append((row - middle) * (spread + eps) ** -0.5)
            return torch.stack(rows) * weight + bias
        """,
}

BOX_IOU = {
    "id": "box_iou",
    "answer": '''
        def box_iou(a: Tensor, b: Tensor) -> Tensor:
            """Return the intersection over union of boxes, shapes (n, 4) and (m, 4): (n, m).

            A box is (left, top, right, bottom).

            >>> box_iou(torch.tensor([[0.0, 0.0, 2.0, 1.0]]), torch.tensor([[0.0, 0.0, 1.0, 1.0]]))
            tensor([[0.5000]])
            """
            ### BEGIN SOLUTION
            corner = torch.maximum(a[:, None, :2], b[None, :, :2])
            opposite = torch.minimum(a[:, None, 2:], b[None, :, 2:])
            overlap = (opposite - corner).clamp(min=0).prod(dim=2)
            sizes = [(boxes[:, 2:] - boxes[:, :2]).prod(dim=1) for boxes in (a, b)]
            return overlap / (sizes[0][:, None] + sizes[1][None, :] - overlap)
            ### END SOLUTION
        ''',
    "public": """
        check.close(
            box_iou,
            cases=[(torch.tensor([[0.0, 0.0, 2.0, 2.0]]),
                    torch.tensor([[1.0, 1.0, 3.0, 3.0], [0.0, 0.0, 1.0, 2.0]]))],
            reference=lambda a, b: torch.tensor([[1 / 7, 1 / 2]]),
        )
        check.holds(
            box_iou,
            cases=[(torch.tensor([[1.0, 2.0, 4.0, 6.0]]), torch.tensor([[1.0, 2.0, 4.0, 6.0]]))],
            condition=lambda iou, a, b: iou.shape == (1, 1),
            says="one box and one box give the shape (1, 1)",
        )
        """,
    "hidden": """
        here, far = torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([[3.0, 3.0, 4.0, 5.0]])
        many = torch.tensor([[0.0, 0.0, 4.0, 4.0], [1.0, 0.0, 2.0, 3.0], [5.0, 5.0, 6.0, 7.0]])
        check.close(box_iou, cases=[(here, far)], reference=lambda a, b: torch.zeros(1, 1),
                    about="boxes apart")
        check.close(box_iou, cases=[(many.double(), many.double())], about="float64",
                    reference=lambda a, b: torch.tensor(
                        [[1, 3 / 16, 0], [3 / 16, 1, 0], [0, 0, 1]], dtype=torch.float64))
        check.close(box_iou, cases=[(torch.zeros(0, 4), many)], about="no box",
                    reference=lambda a, b: torch.zeros(0, 3))
        """,
    "mistakes": [
        (
            """
            def box_iou(a, b):
                low = torch.maximum(a[:, None, :2], b[:, :2])
                high = torch.minimum(a[:, None, 2:], b[:, 2:])
                common = (high - low).clamp(min=0).prod(2)
                first, second = (x[:, 2:].sub(x[:, :2]).prod(1) for x in (a, b))
                return common / (first[:, None] + second)
            """,
            "The union counts the overlap twice: subtract the intersection once.",
            (1, 2),
        ),
        (
            """
            def box_iou(a, b):
                low = torch.maximum(a[:, None, :2], b[:, :2])
                high = torch.minimum(a[:, None, 2:], b[:, 2:])
                common = (high - low).prod(2)
                first, second = (x[:, 2:].sub(x[:, :2]).prod(1) for x in (a, b))
                return common / (first[:, None] + second - common)
            """,
            "Boxes that lie apart in both directions do not overlap: clamp the sides at 0.",
            (2, 1),
        ),
    ],
    "alternative": """
        def box_iou(a, b):
            result = a.new_zeros(len(a), len(b))
            for i, p in enumerate(a):
                for j, q in enumerate(b):
                    width = torch.clamp(min(p[2], q[2]) - max(p[0], q[0]), min=0)
                    height = torch.clamp(min(p[3], q[3]) - max(p[1], q[1]), min=0)
                    areas = (p[2] - p[0]) * (p[3] - p[1]) + (q[2] - q[0]) * (q[3] - q[1])
                    result[i, j] = width * height / (areas - width * height)
            return result
        """,
}

ATTENTION = {
    "id": "attention",
    "answer": '''
        def attention(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
            """Return scaled dot-product attention of shapes (n, d), (m, d), (m, e): (n, e).

            If `causal`, query i sees the keys 0 to i only.

            >>> attention(torch.zeros(1, 2), torch.ones(2, 2), torch.tensor([[0.0], [1.0]]), False)
            tensor([[0.5000]])
            """
            ### BEGIN SOLUTION
            scores = q @ k.T / q.shape[1] ** 0.5
            if causal:
                later = torch.ones_like(scores, dtype=torch.bool).triu(diagonal=1)
                scores = scores.masked_fill(later, float("-inf"))
            return torch.softmax(scores, dim=1) @ v
            ### END SOLUTION
        ''',
    "public": """
        check.close(
            attention,
            cases=[(ROWS, torch.eye(3), WIDE, False)],
            reference=lambda q, k, v, causal: torch.nn.functional.scaled_dot_product_attention(
                q[None], k[None], v[None], is_causal=causal
            )[0],
        )
        check.holds(
            attention,
            cases=[(WIDE, WIDE, torch.ones(3, 2), False)],
            condition=lambda y, q, k, v, causal: torch.allclose(y, torch.ones(3, 2)),
            says="equal values come out as they are",
        )
        """,
    "hidden": """
        fused = lambda q, k, v, causal: torch.nn.functional.scaled_dot_product_attention(
            q[None], k[None], v[None], is_causal=causal)[0]
        check.close(attention, cases=[(0.1 * WIDE, WIDE, WIDE[:, :2], True)], reference=fused,
                    about="causal")
        check.gradient(attention, cases=[(ROWS, ROWS, ROWS, False)], wrt=(0, 1, 2),
                       reference=fused)
        """,
    "mistakes": [
        (
            """
            def attention(q, k, v, causal):
                s = q @ k.T
                if causal:
                    s = s + torch.full_like(s, -torch.inf).triu(1)
                return s.softmax(1) @ v
            """,
            "Divide the scores by the root of d.",
            (1, 0),
        ),
        (
            """
            def attention(q, k, v, causal):
                s = q @ k.T * q.shape[-1] ** -0.5
                if causal:
                    s = s * torch.ones_like(s).tril()
                return s.softmax(1) @ v
            """,
            "A score of 0 is no mask: what is masked needs the score -inf.",
            (2, 1.5),
        ),
    ],
    "alternative": """
        def attention(q, k, v, causal):
            outputs = []
            for i, query in enumerate(q):
                seen = min(i + 1, len(k)) if causal else len(k)
                weights = ((k[:seen] * query).sum(1) / len(query) ** 0.5).softmax(0)
                outputs.append((weights[:, None] * v[:seen]).sum(0))
            return torch.stack(outputs)
        """,
}

TASKS = (SOFTMAX, LAYER_NORM, BOX_IOU, ATTENTION)
POINTS = PUBLIC_POINTS + HIDDEN_POINTS
RIGHT = (PUBLIC_POINTS, HIDDEN_POINTS)

Answer = tuple[str, tuple[float, float]]  # the text of an answer cell, points of both check cells


def write_course(root: Path) -> str:
    """Write a course that holds the exercise's solution and what learners get.

    The record of known mistakes, which takes a run, is left to `coursekit release`.

    Returns:
        The name of the exercise.
    """
    notebook = solution_notebook(
        NAME, "Layers", SETUP, TASKS, before="print(tuple(ROWS.shape), tuple(WIDE.shape))"
    )
    solution = root / "solutions" / f"{NAME}.ipynb"
    write_text(solution, notebook_text(notebook))
    write_text(root / "book" / "_toc.yml", "format: jb-book\nroot: index\n")
    write_text(root / "pyproject.toml", '[project]\nname = "trial"\nversion = "0"\n')
    exercise = released_notebook(read_exercise(solution))
    write_text(root / "exercises" / f"{NAME}.ipynb", notebook_text(exercise))
    return NAME


def answers(task: dict) -> dict[str, Answer]:
    """Return answers to a task with the points of its two check cells, by what they are."""
    right = without_markers(text_of(task["answer"]))
    head = right.splitlines()[0]
    found: dict[str, Answer] = {
        "right": (right, RIGHT),
        "alternative": (text_of(task["alternative"]), RIGHT),
        "empty": (stub(task), (0, 0)),
        "raising": (f'{head}\n    raise ValueError("not finished")', (0, 0)),
        "broken": (f"{head}\n    return (", (0, 0)),
        "text": (f'{head}\n    return "later"', task.get("text points", (0, 0))),
    }
    for number, (source, _, points) in enumerate(task["mistakes"], 1):
        found[f"mistake {number}"] = (text_of(source), points)
    return found


def stub(task: dict) -> str:
    """Return the answer cell as learners get it."""
    return without_regions(text_of(task["answer"]), BEGIN_SOLUTION, END_SOLUTION, STUB)


def without_markers(source: str) -> str:
    """Return the text of a solution without the lines that mark what is removed."""
    kept = [line for line in source.splitlines() if not line.strip().startswith("### ")]
    return "\n".join(kept)


def as_written(source: str, number: int, chance: random.Random) -> str:
    """Return the text of an answer as some learner would format it."""
    styles: tuple[Callable[[str], str], ...] = (
        lambda text: text,
        lambda text: f"# attempt {number}\n{text}\n",
        lambda text: text.replace("    ", "  "),
        lambda text: text.replace("\n", "\n\n") + f"\n\n# {number}",
        lambda text: "\n".join(f"{line}  " for line in text.splitlines()),
    )
    return chance.choice(styles)(source)


def choice_of_answers(number: int, chance: random.Random) -> list[str]:
    """Return what kind of answer a learner gives to each task; every fifth learner is alike."""
    kinds = {0: ("right",), 1: ("right", "alternative"), 3: ("empty",)}.get(number % 5)
    if kinds is not None:
        return [chance.choice(kinds) for _ in TASKS]
    weights = {"right": 4, "alternative": 2, "raising": 2, "broken": 1, "text": 1, "empty": 1}
    chosen = []
    for task in TASKS:
        of_task = [kind for kind in answers(task) if kind.startswith("mistake")]
        of_task += [kind for kind, weight in weights.items() for _ in range(weight)]
        chosen.append(chance.choice(of_task))
    return chosen


def submissions(folder: Path, count: int, seed: int, root: Path) -> dict[str, float]:
    """Write LEARNER/9-trial/01-layers.ipynb for a number of learners.

    Of every five learners two are right throughout, one has changed nothing but a cell of their
    own, two mix right answers, known mistakes, errors and empty answers.

    Args:
        folder: Where to write.
        count: How many learners.
        seed: Of the choice of answers and formatting.
        root: The course that `write_course` wrote.

    Returns:
        The points that each learner has earned, of 20.
    """
    chance = random.Random(seed)
    scores: dict[str, float] = {}
    for number in range(count):
        learner = f"learner-{number:04d}"
        chosen = choice_of_answers(number, chance)
        scores[learner] = write_submission(
            folder / learner / f"{NAME}.ipynb", root, chosen, number, chance
        )
    return scores


def write_submission(
    path: Path, root: Path, chosen: list[str], number: int = 0, chance: random.Random | None = None
) -> float:
    """Write one learner's notebook with the kinds of answers given, and return its points.

    Args:
        path: Where to write it.
        root: The course that `write_course` wrote.
        chosen: For each task a key of `answers`.
        number: Of the learner, for comments in the cells.
        chance: Chooses the formatting; by default the text stays as it is.
    """
    notebook = read_notebook(root / "exercises" / f"{NAME}.ipynb")
    cells = {grade_id(cell): cell for cell in notebook.cells if grade_id(cell)}
    earned = 0.0
    for task, kind in zip(TASKS, chosen, strict=True):
        source, points = answers(task)[kind]
        plain = chance is None or kind == "empty"
        cells[task["id"]].source = source if plain else as_written(source, number, chance)
        earned += sum(points)
    look = next(cell for cell in notebook.cells if cell.get("id") == "look")
    look.source += f"\nprint({number})"
    write_text(path, notebook_text(notebook))
    return earned
