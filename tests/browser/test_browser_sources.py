"""What the pages around the chapters say about the book agrees with what is there."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

BOOK = Path(__file__).parents[2] / "book"
NUMBERS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


def listed() -> list[str]:
    """List the files of the table of contents."""
    return re.findall(r"(?:file|root): (\S+)", (BOOK / "_toc.yml").read_text(encoding="utf-8"))


def finished(part: str) -> list[Path]:
    """List the chapters of a part."""
    return sorted((BOOK / part).glob("[0-9][0-9]-*.md"))


def parts() -> list[str]:
    """List the folders of the parts, in their order."""
    return sorted(path.parent.name for path in BOOK.glob("[0-9]-*/index.md"))


def test_the_table_of_contents_lists_every_page_once_and_no_other() -> None:
    pages = [path.relative_to(BOOK).with_suffix("").as_posix() for path in BOOK.rglob("*.md")]
    assert sorted(listed()) == sorted(pages)


def test_the_chapters_stand_in_the_order_of_their_numbers() -> None:
    chapters = [name for name in listed() if re.match(r"\d-", name) and "index" not in name]
    assert chapters == sorted(chapters)


def counted() -> dict[str, tuple[int, int]]:
    """Read the table of the welcome page: finished and planned chapters of each part."""
    text = (BOOK / "index.md").read_text(encoding="utf-8")
    return {
        part: (int(done), int(planned))
        for part, done, planned in re.findall(r"\((\S+)/index\.md\) \| (\d+) \| (\d+) \|", text)
    }


def test_the_welcome_page_counts_the_chapters() -> None:
    text = (BOOK / "index.md").read_text(encoding="utf-8")
    counts = counted()
    assert {part: done for part, (done, _) in counts.items()} == {
        part: len(finished(part)) for part in parts()
    }
    done, planned = (sum(column) for column in zip(*counts.values(), strict=True))
    assert f"**{done} of {planned} planned chapters are finished" in text


def test_each_part_says_how_many_of_its_chapters_are_finished() -> None:
    planned = {part: of for part, (_, of) in counted().items()}
    for part in parts():
        text = (BOOK / part / "index.md").read_text(encoding="utf-8")
        done = len(finished(part))
        count = NUMBERS[done] if done else "none"
        sentence = rf"\b{count} of (its )?\w+ planned chapters (is|are) finished"
        if done == planned[part]:
            sentence = rf"\ball {count} chapters are finished"
        assert re.search(sentence, text, re.I), part
        for chapter in finished(part):
            assert f"({chapter.name})" in text, f"{part} does not link {chapter.name}"


def test_every_citation_key_stands_once_in_the_bibliography() -> None:
    config = yaml.safe_load((BOOK / "_config.yml").read_text(encoding="utf-8"))
    sources = [(BOOK / name).read_text(encoding="utf-8") for name in config["bibtex_bibfiles"]]
    keys = re.findall(r"^@\w+\{([^,\s]+),", "\n".join(sources), re.M)
    assert sorted(keys) == sorted(set(keys))
    cited = {
        key.strip()
        for page in BOOK.rglob("*.md")
        for keys_of_one in re.findall(r"\{cite[^}]*\}`([^`]+)`", page.read_text(encoding="utf-8"))
        for key in keys_of_one.split(",")
    }
    assert cited <= set(keys), sorted(cited - set(keys))


def test_no_page_and_no_style_names_an_address_to_load_from() -> None:
    own = [*BOOK.glob("_static/*"), *BOOK.glob("_templates/*"), *BOOK.rglob("*.md")]
    for path in own:
        text = path.read_text(encoding="utf-8").replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert not re.search(r"(src=|@import|url\()\s*[\"']?(https?:)?//", text), path.name


def test_every_command_of_a_formula_has_its_backslash() -> None:
    code = re.compile(r"```\{code-cell\}.*?\n```|`[^`\n]*`", re.S)
    words = re.compile(r"\\(?:text|texttt|math[a-z]+|operatorname\*?|begin|end|label)\{[^}]*\}")
    for page in BOOK.glob("[0-9]-*/*.md"):
        prose = code.sub("", page.read_text(encoding="utf-8"))
        for found in re.finditer(r"\$\$(.+?)\$\$|\$([^$\n][^$]*?)\$", prose, re.S):
            formula = words.sub("", found[1] or found[2])
            bare = re.findall(r"(?<![\\a-zA-Z])[a-z]{3,}(?![a-zA-Z])", formula)
            assert not bare, f"{page.name}: {bare} in {found[0]}"
