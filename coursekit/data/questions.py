"""Visual questions about composed scenes, with programs that answer them.

Questions are templates of functional programs in the manner of CLEVR (Johnson et al., "CLEVR: A
Diagnostic Dataset for Compositional Language and Elementary Visual Reasoning", CVPR 2017): a
program of small functions, filter, relate, count, query, is run on the labels of the scene, and
its result is the answer. Questions that are ill-posed ("the cat" where there are two) or degenerate
("the largest animal" where there is one) are not asked.

Balance. CLEVR keeps the answers of each family of questions about uniform by rejection sampling:
its generator refuses a question whose answer has by then been given 1.1 times as often as the
second most frequent answer of its template, or 5 times as often as the median one. Here the rule is
stricter, because the sets are small: questions are taken in blocks that hold every possible answer
once. For yes and no, counts, sizes and superlatives a block is one and the same sentence asked of
as many scenes as it has answers, like the complementary pairs of Goyal et al. ("Making the V in VQA
Matter", CVPR 2017); for what stands beside something, and for colors, where sentences and answers
are many, a block is one question for each answer. What does not fit a block is rejected. So a model
that reads the question alone can do no better than guess among the possible answers.
"""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int
from matplotlib.figure import Figure
from torch import Tensor

from coursekit.data.catalog import find
from coursekit.data.scenes import (
    CLASSES,
    COLORS,
    GROUPS,
    MARGIN,
    OPPOSITE,
    RELATIONS,
    SIDES,
    Scenes,
    compose,
    draw_scene,
    holds,
    load,
    plural,
)

TYPES: Mapping[str, int] = {  # type of question -> hops
    "exist": 1,
    "count": 1,
    "compare": 1,
    "category": 1,
    "color": 1,
    "size": 1,
    "exist-related": 2,
    "count-related": 2,
    "category-related": 2,
    "color-related": 2,
    "size-related": 2,
}
SUPERLATIVES = ("largest", "smallest", "leftmost", "rightmost", "highest", "lowest")
LARGER = 1.3  # ratio of visible pixels from which one object is called the largest or smallest
# Colors that objects of every split have; others are described but not asked for.
COLOR_ANSWERS = ("black", "brown", "red", "orange", "green", "blue")
ANSWERS = ("yes", "no", "0", "1", "2", "3", *SIDES, *COLORS, *CLASSES)
WORDINGS: Mapping[str, tuple[str, ...]] = {
    "exist": ("is there {a}?", "can you see {a}?"),
    "count": ("how many {many} are there?", "how many {many} can you see?"),
    "compare": ("are there more {many} than {other}?", "are there fewer {other} than {many}?"),
    "category": ("what is {the}?", "which thing is {the}?"),
    "color": ("what color is {the}?", "what is the color of {the}?"),
    "size": ("what size is {the}?", "is {the} small or large?"),
    "exist-related": ("is there {a} {where} {the}?", "can you see {a} {where} {the}?"),
    "count-related": (
        "how many {many} are {where} {the}?",
        "how many {many} are there {where} {the}?",
    ),
    "category-related": ("what is {where} {the}?", "which thing is {where} {the}?"),
    "color-related": (
        "what color is the object {where} {the}?",
        "what is the color of the object {where} {the}?",
    ),
    "size-related": (
        "what size is the object {where} {the}?",
        "is the object {where} {the} small or large?",
    ),
}
YES_NO = ("yes", "no")
ABSENT_ASKED = 4  # things that are not there, asked for in each scene


class IllPosed(ValueError):
    """A program has no answer for a scene; the message says why."""


@dataclass(frozen=True)
class Step:
    """One function of a program.

    Attributes:
        function: "scene", "filter", "unique", "superlative", "relate", "exist", "count",
            "greater" or "query".
        argument: What it filters by, relates to or asks for; empty where it takes none.
        inputs: Numbers of the steps whose results it takes.
    """

    function: str
    argument: str = ""
    inputs: tuple[int, ...] = ()


Program = tuple[Step, ...]
Results = list[tuple[int, ...] | str]  # of each step: the objects that it gives, or the answer


@dataclass(frozen=True)
class Facts:
    """What a program knows of a scene.

    Attributes:
        categories: Category of each object.
        colors: Color of each object, None where it has no single one.
        sizes: "small" or "large".
        centers: Center x, y of each visible box in pixels.
        areas: Visible pixels of each object.
        side: Side of the scene in pixels.
    """

    categories: tuple[str, ...]
    colors: tuple[str | None, ...]
    sizes: tuple[str, ...]
    centers: tuple[tuple[float, float], ...]
    areas: tuple[int, ...]
    side: int


@dataclass(frozen=True)
class Questions:
    """Questions about scenes.

    Attributes:
        texts: The questions, in lower case, with a question mark.
        answers: The answer to each.
        labels: int64 of shape (n,), the index of the answer in `ANSWERS`.
        scenes: int64 of shape (n,), the index of the scene.
        programs: The program that gives the answer; see `execute`.
        types: One of `TYPES`.
        hops: int64 of shape (n,): 1 where the question is answered by the objects that it
            describes, 2 where it describes one object and asks for what is beside it.
        choices: The possible answers of each question.
        attended: For each hop the indices, in the scene, of the objects to look at; of the last
            hop they are those that give the answer (none, where there is no such object).
    """

    texts: list[str]
    answers: list[str]
    labels: Int[Tensor, " n"]
    scenes: Int[Tensor, " n"]
    programs: list[Program]
    types: list[str]
    hops: Int[Tensor, " n"]
    choices: list[tuple[str, ...]]
    attended: list[tuple[tuple[int, ...], ...]]

    def __len__(self) -> int:
        return len(self.texts)

    def __repr__(self) -> str:
        scenes, types = len(set(self.scenes.tolist())), len(set(self.types))
        return f"Questions({len(self):,} questions of {types} types about {scenes:,} scenes)"

    @property
    def chance(self) -> float:
        """Expected accuracy of guessing among the possible answers: the mean of 1 / choices."""
        return sum(1 / len(choices) for choices in self.choices) / max(1, len(self))

    def attention(self, scenes: Scenes, index: int) -> Bool[Tensor, "hops size size"]:
        """Give the pixels to look at in each hop of a question.

        Args:
            scenes: The scenes that were asked about.
            index: Number of the question.

        Returns:
            bool of shape (hops, size, size): the visible pixels of the attended objects.
        """
        masks = scenes.masks[int(self.scenes[index])]
        return torch.stack([masks[list(hop)].any(0) for hop in self.attended[index]])


def facts(scenes: Scenes, index: int) -> Facts:
    """Collect what programs need to know of a scene.

    Args:
        scenes: The scenes.
        index: Number of the scene.

    Returns:
        The facts.
    """
    boxes = scenes.boxes[index].tolist()
    return Facts(
        categories=scenes.categories(index),
        colors=scenes.colors[index],
        sizes=scenes.sizes[index],
        centers=tuple(((x1 + x2) / 2, (y1 + y2) / 2) for x1, y1, x2, y2 in boxes),
        areas=tuple(scenes.masks[index].sum((1, 2)).tolist()),
        side=scenes.images.shape[-1],
    )


def execute(program: Program, scene: Facts) -> str:
    """Answer a question.

    Args:
        program: The steps; the last gives the answer.
        scene: The facts of the scene.

    Returns:
        One of `ANSWERS`.

    Raises:
        IllPosed: The question has no answer in this scene.
        ValueError: A function or argument is unknown.

    >>> scene = Facts(("cat", "hat"), (None, "red"), ("large", "small"), ((10, 9), (40, 9)),
    ...               (300, 80), 64)
    >>> program = (Step("scene"), Step("filter", "hat", (0,)), Step("unique", "", (1,)),
    ...            Step("relate", "left", (2,)), Step("unique", "", (3,)),
    ...            Step("query", "category", (4,)))
    >>> execute(program, scene)
    'cat'
    """
    return str(trace(program, scene)[-1])


def trace(program: Program, scene: Facts) -> Results:
    """Run a program and keep the result of every step.

    Args:
        program: The steps.
        scene: The facts of the scene.

    Returns:
        For each step the objects that it gives, or the answer.

    Raises:
        IllPosed: The question has no answer in this scene.
        ValueError: A function or argument is unknown.
    """
    results: Results = []
    for step in program:
        results.append(_run(step, scene, [results[i] for i in step.inputs]))
    return results


def _run(step: Step, scene: Facts, inputs: list) -> tuple[int, ...] | str:
    """Run one step on the results of its inputs."""
    if step.function == "scene":
        return tuple(range(len(scene.categories)))
    if step.function == "filter":
        return _filter(step.argument, scene, inputs[0])
    if step.function == "superlative":
        return _superlative(step.argument, scene, inputs[0])
    if step.function == "unique":
        if len(inputs[0]) != 1:
            raise IllPosed(f"there must be exactly one such object, got {len(inputs[0])}")
        return inputs[0]
    if step.function == "relate":
        return _relate(step.argument, scene, inputs[0][0])
    if step.function == "exist":
        return "yes" if inputs[0] else "no"
    if step.function == "count":
        return str(len(inputs[0]))
    if step.function == "greater":
        return "yes" if int(inputs[0]) > int(inputs[1]) else "no"
    if step.function == "query":
        values = {"category": scene.categories, "color": scene.colors, "size": scene.sizes}
        if step.argument not in values:
            raise ValueError(
                f"query must be category, color or size, got {step.argument!r} in {step}"
            )
        value = values[step.argument][inputs[0][0]]
        if value is None:
            raise IllPosed("the object has no single color")
        return value
    raise ValueError(f"function must be one that Step lists, got {step.function!r}")


def _filter(word: str, scene: Facts, members: tuple[int, ...]) -> tuple[int, ...]:
    if word == "object":
        return members
    if word in CLASSES:
        return tuple(i for i in members if scene.categories[i] == word)
    if word in GROUPS:
        return tuple(i for i in members if scene.categories[i] in GROUPS[word])
    if word in SIDES:
        return tuple(i for i in members if scene.sizes[i] == word)
    if word not in COLORS:
        raise ValueError(f"filter must be a category, group, size or color, got {word!r}")
    if any(scene.colors[i] is None for i in members):
        raise IllPosed("an object has no single color")
    return tuple(i for i in members if scene.colors[i] == word)


def _superlative(word: str, scene: Facts, members: tuple[int, ...]) -> tuple[int, ...]:
    """Find the one object that surpasses the others clearly."""
    if word not in SUPERLATIVES:
        raise ValueError(f"superlative must be one of {', '.join(SUPERLATIVES)}, got {word!r}")
    if len(members) < 2:
        raise IllPosed(f"the {word} of fewer than two objects is no question")
    if word in ("largest", "smallest"):
        order = sorted(members, key=lambda i: scene.areas[i], reverse=word == "largest")
        areas = sorted((scene.areas[order[0]], scene.areas[order[1]]))
        clear = areas[1] >= LARGER * areas[0]
    else:
        axis = 0 if word in ("leftmost", "rightmost") else 1
        last = word in ("rightmost", "lowest")
        order = sorted(members, key=lambda i: scene.centers[i][axis], reverse=last)
        gap = scene.centers[order[0]][axis] - scene.centers[order[1]][axis]
        clear = abs(gap) > MARGIN * scene.side
    if not clear:
        raise IllPosed(f"two objects are nearly the {word}")
    return (order[0],)


def _relate(relation: str, scene: Facts, anchor: int) -> tuple[int, ...]:
    """Find the objects on one side of another, if each is clearly on that side or the other."""
    if relation not in RELATIONS:
        raise ValueError(f"relate must be one of {', '.join(RELATIONS)}, got {relation!r}")
    found = []
    for i, center in enumerate(scene.centers):
        if i == anchor:
            continue
        if holds(relation, center, scene.centers[anchor], scene.side):
            found.append(i)
        elif not holds(OPPOSITE[relation], center, scene.centers[anchor], scene.side):
            raise IllPosed(f"an object is neither clearly {RELATIONS[relation]} it nor opposite")
    return tuple(found)


@dataclass(frozen=True)
class _Candidate:
    """A question that a scene can answer, before its wording is chosen."""

    kind: str
    key: str  # what must be balanced together
    slots: Mapping[str, str]
    program: Program
    choices: tuple[str, ...]
    answer: str
    hops: tuple[tuple[int, ...], ...]
    results: Results
    scene: int

    @property
    def attended(self) -> tuple[tuple[int, ...], ...]:
        """Objects to look at in each hop."""
        return tuple(
            tuple(sorted({int(i) for step in steps for i in self.results[step]}))
            for steps in self.hops
        )


_START = (Step("scene"),)


def _then(program: Program, function: str, argument: str = "") -> Program:
    return (*program, Step(function, argument, (len(program) - 1,)))


def _selected(words: Sequence[str]) -> Program:
    """Select by words: ("red", "object"), ("cat",), or with a superlative ("largest", "animal")."""
    program: Program = _START
    for word in reversed(words):
        kind = "superlative" if word in SUPERLATIVES else "filter"
        program = _then(program, kind, word)
    return program


def _the_one(words: Sequence[str]) -> Program:
    return _then(_selected(words), "unique")


def _article(words: Sequence[str]) -> str:
    text = " ".join(words)
    return ("an " if text[0] in "aeiou" else "a ") + text


def _many(words: Sequence[str]) -> str:
    return " ".join([*words[:-1], plural(words[-1])])


def _candidates(
    scene: Facts, number: int, rng: np.random.Generator, types: Sequence[str]
) -> Iterator[_Candidate]:
    """Go through the questions that a scene can answer; of the many, some are drawn."""
    present = list(dict.fromkeys(scene.categories))
    absent = [name for name in CLASSES if name not in present]
    absent = [absent[i] for i in rng.permutation(len(absent))[:ABSENT_ASKED]]
    proposals = [
        *_counting(scene, present, absent),
        *_comparing(scene, present),
        *_naming(scene, present),
    ]
    anchors: list[tuple[str, ...]] = [(name,) for name in present]
    anchors += [(word, noun) for word in SUPERLATIVES[:2] for noun in ("object", *GROUPS)]
    for phrase in anchors:
        proposals += _relating(scene, phrase, rng)
    for proposal in proposals:
        if proposal.kind not in types:
            continue
        try:
            results = _finish(proposal, scene)
        except IllPosed:
            continue
        answer = str(results[-1])
        if answer not in proposal.choices:
            continue
        slots = dict(proposal.slots)
        key = proposal.key or " ".join([proposal.kind, *slots.values()])
        yield _Candidate(
            kind=proposal.kind,
            key=key,
            slots=slots,
            program=proposal.program,
            choices=proposal.choices,
            answer=answer,
            hops=proposal.hops,
            results=results,
            scene=number,
        )


@dataclass(frozen=True)
class _Proposal:
    """A question that may be ill-posed for the scene."""

    kind: str
    slots: tuple[tuple[str, str], ...]
    program: Program
    choices: tuple[str, ...]
    hops: tuple[tuple[int, ...], ...]  # steps whose results are attended, in each hop
    known: Results  # results of the first steps
    key: str = ""  # what is balanced together; empty for the sentence itself


def _finish(proposal: _Proposal, scene: Facts) -> Results:
    """Run what is left of a program whose first steps have been run."""
    results = list(proposal.known)
    for step in proposal.program[len(results) :]:
        results.append(_run(step, scene, [results[i] for i in step.inputs]))
    return results


def _counting(scene: Facts, present: Sequence[str], absent: Sequence[str]) -> Iterator[_Proposal]:
    """Propose questions for the existence and number of things described by one word."""
    described: list[tuple[str, ...]] = [(name,) for name in (*present, *absent, *GROUPS)]
    described += [(word, "object") for word in (*SIDES, *COLOR_ANSWERS)]
    for phrase in described:
        program = _selected(phrase)
        try:
            known = trace(program, scene)
        except IllPosed:
            continue
        hops = ((len(program) - 1,),)
        asked = _then(program, "exist")
        yield _Proposal("exist", (("a", _article(phrase)),), asked, YES_NO, hops, known)
        most = 4 if phrase[0] in GROUPS or phrase[0] in SIDES else 3
        choices = ("0", "1", "2", "3")[:most]
        asked = _then(program, "count")
        yield _Proposal("count", (("many", _many(phrase)),), asked, choices, hops, known)


def _comparing(scene: Facts, present: Sequence[str]) -> Iterator[_Proposal]:
    """Propose to compare the numbers of two things that are there."""
    groups = [name for name in GROUPS if any(c in GROUPS[name] for c in scene.categories)]
    for names in (present, groups):
        for first in names:
            for second in names:
                if first == second:
                    continue
                one = _then(_selected((first,)), "count")
                two = (Step("filter", second, (0,)), Step("count", "", (len(one),)))
                both = (*one, *two, Step("greater", "", (len(one) - 1, len(one) + 1)))
                slots = (("many", _many((first,))), ("other", _many((second,))))
                yield _Proposal("compare", slots, both, YES_NO, ((len(one) - 2, len(one)),), [])


def _naming(scene: Facts, present: Sequence[str]) -> Iterator[_Proposal]:
    """Propose to ask for the category, color or size of an object described by itself."""
    nouns: dict[str, tuple[str, ...]] = {"object": CLASSES, **GROUPS}
    for word in SUPERLATIVES:
        for noun, choices in nouns.items():
            program = _selected((word, noun))
            try:
                known = trace(program, scene)
            except IllPosed:
                continue
            slots, hops = (("the", f"the {word} {noun}"),), ((len(program) - 1,),)
            asked = _then(program, "query", "category")
            yield _Proposal("category", slots, asked, choices, hops, known)
            if noun == "object":
                asked = _then(program, "query", "color")
                yield _Proposal("color", slots, asked, COLOR_ANSWERS, hops, known)
    for name in present:
        program = _then(_the_one((name,)), "query", "size")
        hops = ((len(program) - 2,),)
        yield _Proposal("size", (("the", f"the {name}"),), program, tuple(SIDES), hops, [])


def _relating(
    scene: Facts, phrase: tuple[str, ...], rng: np.random.Generator
) -> Iterator[_Proposal]:
    """Propose questions for what is beside an object."""
    if len(scene.categories) < 2:
        return
    anchor = _the_one(phrase)
    here = (len(anchor) - 1,)
    for relation, where in RELATIONS.items():
        beside = _then(anchor, "relate", relation)
        try:
            known = trace(beside, scene)
        except IllPosed:
            continue
        slots = (("where", where), ("the", "the " + " ".join(phrase)))
        group = list(GROUPS)[int(rng.integers(len(GROUPS)))]
        for noun in ("object", group):
            program = beside if noun == "object" else _then(beside, "filter", noun)
            hops = (here, (len(program) - 1,))
            a, many = ("a", _article((noun,))), ("many", _many((noun,)))
            asked = _then(program, "exist")
            yield _Proposal("exist-related", (a, *slots), asked, YES_NO, hops, known)
            asked = _then(program, "count")
            yield _Proposal("count-related", (many, *slots), asked, ("0", "1", "2"), hops, known)
        one = _then(beside, "unique")
        hops = (here, (len(one) - 1,))
        others = tuple(name for name in CLASSES if name != phrase[0])
        # What is beside "the largest animal" is often an animal, and never a very large one; what
        # is beside "the cat" may be anything, so that all categories are balanced together.
        about = " ".join(phrase) if len(phrase) > 1 else "category"
        for query, choices in (("category", others), ("color", COLOR_ANSWERS)):
            kind = f"{query}-related"
            asked = _then(one, "query", query)
            yield _Proposal(kind, slots, asked, choices, hops, known, f"{kind} {about}")
        asked = _then(one, "query", "size")
        yield _Proposal("size-related", slots, asked, tuple(SIDES), hops, known)


def ask(scenes: Scenes, examples: int, seed: int, types: Sequence[str] = tuple(TYPES)) -> Questions:
    """Ask balanced questions about scenes.

    Every type has the same share of the questions; within a type they are taken in blocks that
    hold each possible answer once (see the module), so that guessing from the question alone has
    the accuracy `Questions.chance`.

    Args:
        scenes: The scenes; more of them than questions is a good measure.
        examples: Number of questions.
        seed: Same scenes and seed, same questions.
        types: Which of `TYPES` to ask.

    Returns:
        The questions in random order.

    Raises:
        ValueError: A type is unknown, or the scenes do not allow so many balanced questions of
            one; the message says how many they allow.
    """
    if unknown := [kind for kind in types if kind not in TYPES]:
        raise ValueError(f"types must be among {', '.join(TYPES)}, got {unknown[0]!r}")
    if not types or len(set(types)) != len(types):
        raise ValueError(f"types must be different names, at least one, got {list(types)}")
    if examples < 0:
        raise ValueError(f"examples must be 0 or more, got {examples}")
    rng = np.random.default_rng(seed)
    pools: dict[str, dict[str, dict[str, list[_Candidate]]]] = {kind: {} for kind in types}
    for number in range(len(scenes)):
        for item in _candidates(facts(scenes, number), number, rng, types):
            answers = pools[item.kind].setdefault(item.key, defaultdict(list))
            answers[item.answer].append(item)
    chosen: list[tuple[_Candidate, int]] = []
    for place, kind in enumerate(types):
        quota = examples // len(types) + (place < examples % len(types))
        chosen += _balanced(kind, pools[kind], quota, rng)
    order = rng.permutation(len(chosen)).tolist()
    return _questions([chosen[i] for i in order])


def _balanced(
    kind: str,
    pool: Mapping[str, Mapping[str, list[_Candidate]]],
    quota: int,
    rng: np.random.Generator,
) -> list[tuple[_Candidate, int]]:
    """Take blocks of every answer once, and a wording each; reject the rest."""
    blocks: list[list[_Candidate]] = []
    for key in sorted(pool):
        answers = pool[key]
        first = next(iter(answers.values()))[0]
        needed = CLASSES if kind == "category-related" else first.choices
        if not all(choice in answers for choice in needed):
            continue
        shuffled = [[answers[c][i] for i in rng.permutation(len(answers[c]))] for c in needed]
        blocks += [list(block) for block in zip(*shuffled, strict=False)]
    allowed = sum(map(len, blocks))
    if allowed < quota:
        raise ValueError(
            f"examples asks for {quota} questions of type {kind}, but these scenes allow only "
            f"{allowed} balanced ones: compose more scenes, ask fewer questions or leave it out"
        )
    taken: list[tuple[_Candidate, int]] = []
    for i in rng.permutation(len(blocks)).tolist():
        if len(taken) >= quota:
            break
        wording = int(rng.integers(len(WORDINGS[kind])))  # one for all answers of the block
        members = [blocks[i][k] for k in rng.permutation(len(blocks[i]))]
        taken += [(item, wording) for item in members[: quota - len(taken)]]
    return taken


def _questions(chosen: Sequence[tuple[_Candidate, int]]) -> Questions:
    items = [item for item, _ in chosen]
    return Questions(
        texts=[WORDINGS[item.kind][wording].format(**item.slots) for item, wording in chosen],
        answers=[item.answer for item in items],
        labels=torch.tensor([ANSWERS.index(item.answer) for item in items], dtype=torch.int64),
        scenes=torch.tensor([item.scene for item in items], dtype=torch.int64),
        programs=[item.program for item in items],
        types=[item.kind for item in items],
        hops=torch.tensor([TYPES[item.kind] for item in items], dtype=torch.int64),
        choices=[item.choices for item in items],
        attended=[item.attended for item in items],
    )


def words(text: str) -> list[str]:
    """Divide a question into words.

    Args:
        text: A question.

    Returns:
        Its words without the question mark.

    >>> words("how many cats are there?")
    ['how', 'many', 'cats', 'are', 'there']
    """
    return text.rstrip("?").split()


def vocabulary() -> tuple[str, ...]:
    """List every word that a question can have.

    Returns:
        The words in alphabetic order.
    """
    templates = [text.format(a="a an", many="", other="", the="the", where="")
                 for forms in WORDINGS.values() for text in forms]  # fmt: skip
    nouns = [*CLASSES, *GROUPS, "object"]
    spoken = [*nouns, *(_many((noun,)) for noun in nouns), *RELATIONS.values()]
    spoken += [*SUPERLATIVES, *SIDES, *COLOR_ANSWERS, *templates]
    return tuple(sorted({word for text in spoken for word in words(text.replace("?", ""))}))


def draw(name: str) -> Figure:
    """Draw scenes with questions and answers, the attended objects marked.

    Args:
        name: "visual-questions".

    Returns:
        The figure.
    """
    if name != "visual-questions":
        raise ValueError(f"name must be visual-questions, got {name!r}")
    scenes = compose(load(find("scenes"), "train"), examples=150, seed=3, size=96, min_objects=2)
    questions = ask(scenes, examples=33, seed=0)
    shown = [questions.types.index(kind) for kind in TYPES]
    figure = Figure(figsize=(10.5, 9), layout="constrained")
    axes = figure.subplots(3, 4).ravel()
    for axis, i in zip(axes, shown, strict=False):
        draw_scene(axis, scenes, int(questions.scenes[i]), boxes=False)
        for hop, mask in enumerate(questions.attention(scenes, i)):
            color = "white" if hop + 1 == questions.hops[i] else "black"
            if mask.any():
                lines = {"colors": color, "linewidths": 1.6, "extent": (0, 96, 0, 96)}
                axis.contour(mask.float().numpy(), [0.5], **lines)
        kind = f"{questions.types[i]} ({int(questions.hops[i])})"
        axis.set_title(kind, fontsize=9)
        text = textwrap.fill(questions.texts[i], 38)
        axis.set_xlabel(f"{text}\n{questions.answers[i]}", fontsize=9)
    for axis in axes[len(shown) :]:
        axis.set_axis_off()
    figure.suptitle("visual questions, type (hops); attended objects: last hop white, first black")
    return figure
