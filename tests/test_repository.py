"""The files at the top of the repository agree with each other."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
LICENSES = {"LICENSE", "LICENSE-text"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = {
    name.lower().replace("_", "-"): Version(version)
    for name, version in re.findall(
        r"^([\w.\-]+)==(\S+)", (ROOT / "constraints.txt").read_text(), re.M
    )
}
# The rivals have environments of their own, and dev holds grade.
EXTRAS = sorted(set(PROJECT["optional-dependencies"]) - {"bench", "grade", "peers"})
ASKED = [
    Requirement(line)
    for lines in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    for line in lines
    if not line.startswith("coursekit[")
]


def test_environment_yml_takes_everything_but_python_from_pyproject():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    conda = [d for d in environment["dependencies"] if isinstance(d, str)]
    (pip,) = (d["pip"] for d in environment["dependencies"] if isinstance(d, dict))
    python = next(d.removeprefix("python") for d in conda if d.startswith("python"))
    extras = re.fullmatch(r"-e \.\[([\w,]+)\]", pip[1])[1].split(",")

    assert [d.split(">")[0] for d in conda] == ["python", "pip"]
    assert SpecifierSet(python) == SpecifierSet(PROJECT["requires-python"])
    assert pip[0] == "-c constraints.txt"
    assert sorted(extras) == EXTRAS


def test_makefile_installs_the_same_extras_as_environment_yml():
    assert f'-c constraints.txt -e ".[{",".join(EXTRAS)}]"' in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize("requirement", ASKED, ids=str)
def test_constraints_pin_a_version_that_pyproject_admits(requirement):
    name = requirement.name.lower().replace("_", "-")
    assert name in PINS, f"constraints.txt pins no {name}"
    assert requirement.specifier.contains(PINS[name], prereleases=True)


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("jupyter-book", "1.0.4.post1"),
        ("torch", "2.14.1"),
        ("torchvision", "0.29.1"),
        ("nbval", "0.11"),
    ],
)
def test_the_versions_that_the_course_is_written_for_are_pinned(name, version):
    assert PINS[name] == Version(version)


def test_versions_agree():
    module = ast.parse((ROOT / "coursekit" / "__init__.py").read_text())
    (stated,) = (n.value.value for n in module.body if isinstance(n, ast.Assign))
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert stated == PROJECT["version"] == citation["version"]


def test_chapters_import_names_from_rooms_without_alias_star_or_path_tricks():
    for page in sorted(ROOT.glob("book/*/*.md")):
        cells = re.findall(r"```\{code-cell\}[^\n]*\n(.*?)\n```", page.read_text(), re.S)
        for cell in cells:
            code = re.sub(r"\A---\n.*?\n---\n|^:\w.*$", "", cell, flags=re.S | re.M)
            for node in ast.walk(ast.parse(code)):
                if isinstance(node, ast.ImportFrom) and node.module.startswith("coursekit"):
                    assert node.module.count(".") == 1, f"{page.name}: from {node.module}"
                    for name in node.names:
                        assert name.asname is None, f"{page.name}: {name.name} as {name.asname}"
                        assert name.name != "*", f"{page.name}: a star import"
                if isinstance(node, ast.Import):
                    assert not any(n.name.startswith("coursekit") for n in node.names), page.name
            assert "sys.path" not in code, page.name


def test_no_line_of_prose_is_lost_or_turned_into_a_list_by_where_it_was_wrapped():
    for page in sorted([*ROOT.glob("book/*.md"), *ROOT.glob("book/*/*.md")]):
        prose = re.sub(r"^(`{3,}).*?^\1", "", page.read_text(), flags=re.S | re.M)
        lines = prose.splitlines()
        for before, line in pairwise(lines):
            assert not line.startswith("%"), f"{page.name}: MyST drops the line {line!r}"
            item = re.match(r"(\d+)\. ", line)
            within = before.strip() and not re.match(r"\s*(\d+\.|[-*]) |\s{2,}", before)
            assert not (item and within), f"{page.name}: {line!r} begins a list"


@pytest.mark.slow
def test_the_wheel_holds_free_data_and_only_the_cards_of_the_others(tmp_path):
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    for name in filter(None, tracked):
        if name.startswith("coursekit/") or name in {"pyproject.toml", "README.md"} | LICENSES:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, tmp_path / name)
    build = ["pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", "out", "."]
    subprocess.run([sys.executable, "-m", *build], cwd=tmp_path, check=True)
    (wheel,) = (tmp_path / "out").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        inside = {n for n in archive.namelist() if n.startswith("coursekit/data/")}
    free = {n for n in tracked if n.startswith("coursekit/data/files/") and "/." not in n}
    assert free <= inside
    names = {n.rsplit("/", 1)[1] for n in inside if n.startswith("coursekit/data/sharealike/")}
    assert names == {"CARD.md", "LICENSE"}
