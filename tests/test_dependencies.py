"""What code depends on, found by reading it."""

from pathlib import Path

import pytest

from coursekit.dependencies import (
    closure,
    code_cells,
    code_hash,
    data_names,
    module_files,
    source_files,
    statements,
)

FILES = {
    "__init__.py": '"""House."""\n__version__ = "1"\n',
    "room/__init__.py": (
        "from typing import TYPE_CHECKING\n"
        "from coursekit.room.first import one\n"
        "if TYPE_CHECKING:\n    from coursekit.room.second import two\n"
        "__all__ = ['one', 'two']\n"
        "def __getattr__(name):\n    from coursekit.room import second\n    return second.two\n"
    ),
    "room/first.py": "def one():\n    from coursekit.ground import base\n    return base()\n",
    "room/second.py": "from .first import one\ntwo = one\n",
    "room/third.py": "import numpy\n",
    "ground.py": "def base():\n    return 1\n",
    "busy/__init__.py": "import coursekit.ground\nREGISTER = []\n",
    "busy/worker.py": "from coursekit.room.third import numpy\n",
}


@pytest.fixture
def house(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "coursekit" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "coursekit"


def names(files: list[Path], house: Path) -> list[str]:
    return [path.relative_to(house).as_posix() for path in files]


@pytest.mark.parametrize(
    ("source", "files"),
    [
        ("from coursekit.room import one", ["ground.py", "room/first.py"]),
        ("from coursekit.room import two", ["ground.py", "room/first.py", "room/second.py"]),
        ("from coursekit.room import third", ["room/third.py"]),
        ("import coursekit.ground", ["ground.py"]),
        (
            "from coursekit.busy.worker import numpy",
            ["busy/__init__.py", "busy/worker.py", "ground.py", "room/third.py"],
        ),
        ("import numpy\nfrom torch import nn", []),
        ("def late():\n    from coursekit.room.third import numpy", ["room/third.py"]),
        ("%matplotlib inline\n!ls\nfrom coursekit import ground", ["ground.py"]),
    ],
)
def test_imports_are_followed_to_the_files_that_define_the_names(source, files, house):
    assert names(source_files([source], house), house) == files


def test_module_files_are_transitive(house):
    found = names(module_files(["coursekit.room.second"], house), house)
    assert found == ["ground.py", "room/first.py", "room/second.py"]


def test_a_package_imported_whole_brings_all_that_it_imports(house):
    found = names(source_files(["import coursekit.room"], house), house)
    assert found == ["ground.py", "room/__init__.py", "room/first.py", "room/second.py"]


def test_comments_docstrings_and_layout_do_not_change_the_hash():
    plain = "def f(x: int) -> int:\n    return x + 1\nclass A:\n    y = 2\n"
    dressed = (
        '"""Module."""\n# A comment.\ndef f(\n    x: int,\n) -> int:\n    """Doc."""\n'
        '    return (x + 1)  # more\n\n\nclass A:\n    """Doc."""\n\n    y = 2\n'
    )
    assert code_hash(plain) == code_hash(dressed)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x = 1", "x = 2"),
        ("x = 1", "x = 1.0"),
        ("def f(a, b): return a", "def f(b, a): return a"),
        ("f('a')", "f('b')"),
        ("a = 1\nb = 2", "b = 2\na = 1"),
        ("async def f(): await g()", "async def f(): g()"),
    ],
)
def test_a_change_of_code_changes_the_hash(before, after):
    assert code_hash(before) != code_hash(after)


def kept(cells: list[str], *wanted: str) -> list[str]:
    import ast

    return [ast.unparse(s.node) for s in closure(statements(cells), wanted)]


def test_a_closure_holds_what_the_name_needs_and_nothing_else():
    cells = [
        "import numpy as np\nimport torch",
        "WIDTH = 3\nHEIGHT = 4",
        "def helper(seed):\n    return np.ones(WIDTH)",
        "print(HEIGHT)",
        "def experiment(seed):\n    torch = 1\n    return helper(seed)",
    ]
    assert kept(cells, "experiment") == [
        "import numpy as np",
        "WIDTH = 3",
        "def helper(seed):\n    return np.ones(WIDTH)",
        "def experiment(seed):\n    torch = 1\n    return helper(seed)",
    ]


def test_only_the_imported_name_in_use_counts():
    assert kept(["from room import a, b as c", "def f():\n    return c"], "f")[0] == (
        "from room import b as c"
    )


def test_statements_that_change_a_needed_object_are_kept():
    cells = [
        "items = []\nother = []",
        "items.append(1)\nother.append(2)\nitems[0] = 3\nlen(items)",
        "for i in range(3):\n    items.append(i)",
        "def f():\n    return items",
    ]
    found = kept(cells, "f")
    assert "items.append(1)" in found
    assert "items[0] = 3" in found
    assert any(line.startswith("for") for line in found)
    assert not any("other" in line or "len" in line for line in found)


def test_a_call_on_an_imported_module_is_not_a_change_of_it():
    assert kept(["import torch", "torch.manual_seed(0)", "f = lambda: torch.ones(1)"], "f") == [
        "import torch",
        "f = lambda: torch.ones(1)",
    ]


@pytest.mark.parametrize(
    "comprehension", ["[f(x) for x in data]", "{f(x) for x in data}", "{x: f(x) for x in data}"]
)
def test_the_variable_of_a_comprehension_is_its_own_in_every_version_of_python(comprehension):
    first, second = statements(["x = 1", f"y = {comprehension}"])
    assert second.binds == {"y"}
    assert second.uses == {"f", "data"}
    assert closure([first, second], ["y"]) == [second]


def test_later_definitions_count_as_well_as_earlier_ones():
    assert kept(["a = 1", "a = a + 1", "b = 3"], "a") == ["a = 1", "a = a + 1"]


MYST = """---
kernelspec:
  name: python3
---
# Title

```{code-cell}
:tags: [hide-input]

x = 1
```

````markdown
```{code-cell}
not_a_cell = 1
```
````

```python
nor_this = 1
```

```{code-cell} ipython3
---
tags: [a]
---
y = '''
a
'''
```
"""


def test_code_cells_are_read_without_their_options():
    assert code_cells(MYST) == ["x = 1", "y = '''\na\n'''"]


def test_code_cells_agree_with_the_reader_of_the_book():
    read = pytest.importorskip("myst_nb.core.read").read_myst_markdown_notebook
    cells = [cell.source for cell in read(MYST).cells if cell.cell_type == "code"]
    assert code_cells(MYST) == cells


def test_a_file_that_changes_is_read_again(house):
    file = house / "ground.py"
    before = code_hash(file)
    assert names(source_files(["from coursekit.ground import base"], house), house) == ["ground.py"]
    assert data_names([file], ["digits"]) == []
    file.write_text("from coursekit.room.third import numpy\nload('digits')\n")
    assert code_hash(file) != before
    found = source_files(["from coursekit.ground import base"], house)
    assert names(found, house) == ["ground.py", "room/third.py"]
    assert data_names([file], ["digits"]) == ["digits"]
