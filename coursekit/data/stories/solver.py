"""Answers questions of the bAbI kind by rules, from the words alone.

It knows neither the number of the task nor how stories are generated, and does as well on the
published files where they follow the same rules. It is the reference that generated stories are
tested against, and the ceiling that a learned memory is compared with.
"""

from __future__ import annotations

import functools
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence

Answer = tuple[str, ...] | None
Statements = Sequence[Sequence[str]]

GO = r"(?:went back to|went to|moved to|journeyed to|travelled to)"
TIME = r"(yesterday|this morning|this afternoon|this evening)"
TIMES = ("yesterday", "this morning", "this afternoon", "this evening")
PRONOUNS = {"she": {"mary", "sandra", "julie"}, "he": {"daniel", "john", "bill", "fred", "jeff"}}
COUNTS = ("none", "one", "two", "three", "four", "five")
SINGULAR = {"mice": "mouse", "wolves": "wolf", "cats": "cat", "sheep": "sheep"}
MOTIVES = {"tired": "bedroom", "bored": "garden", "hungry": "kitchen", "thirsty": "kitchen"}
STEPS = {"north": (0, 1), "south": (0, -1), "east": (1, 0), "west": (-1, 0)}
STEPS |= {"above": (0, 1), "below": (0, -1)}
STEPS |= {"to the right of": (1, 0), "to the left of": (-1, 0)}
SIDE = r"(above|below|to the left of|to the right of)"

_STATEMENTS = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        ("go", rf"(?:(?:then|after that|afterwards|following that) )?(\w+) {GO} the (\w+)"),
        ("go both", rf"(\w+) and (\w+) {GO} the (\w+)"),
        ("went when", rf"(\w+) {GO} the (\w+) {TIME}"),
        ("when went", rf"{TIME} (\w+) {GO} the (\w+)"),
        ("take", r"(\w+) (?:got|took|grabbed|picked up) the (\w+)(?: there)?"),
        ("drop", r"(\w+) (?:dropped|left|discarded|put down) the (\w+)(?: there)?"),
        ("give", r"(\w+) (?:gave|handed|passed) the (\w+) to (\w+)"),
        ("out", r"(\w+) is (?:no longer|not) in the (\w+)"),
        ("either", r"(\w+) is either in the (\w+) or the (\w+)"),
        ("go", r"(\w+) is in the (\w+)"),
        ("compass", r"the (\w+) is (north|south|east|west) of the (\w+)"),
        ("side", rf"the ([\w ]+) is {SIDE} the ([\w ]+)"),
        ("bigger", r"the ([\w ]+) is bigger than the ([\w ]+)"),
        ("smaller", r"the ([\w ]+) fits inside the ([\w ]+)"),
        ("fear", r"(\w+) are afraid of (\w+)"),
        ("kind", r"(\w+) is an? (\w+)"),
        ("is", r"(\w+) is (\w+)"),
    )
)


def solve(story: Statements, question: Sequence[str]) -> Answer:
    """Answer a question about a story.

    Args:
        story: Statements in lower-case words, oldest first, as `Question.story`.
        question: The question in lower-case words.

    Returns:
        The answers, or None where the story does not tell.

    Raises:
        ValueError: The question is of no known form.

    >>> solve([("mary", "got", "the", "milk"), ("mary", "went", "to", "the", "garden")],
    ...       ("where", "is", "the", "milk"))
    ('garden',)
    """
    text = " ".join(question)
    for pattern, method in _QUESTIONS:
        match = re.fullmatch(pattern, text)
        if match:
            facts = [_parse(" ".join(statement)) for statement in story]
            return method(facts, *match.groups())
    raise ValueError(f"question must be of a form of the bAbI tasks, got {text!r}")


@functools.lru_cache(maxsize=100_000)
def _parse(text: str) -> tuple[str, ...]:
    """Turn a statement into a kind and its names; ("other",) if it is of no known form."""
    for kind, pattern in _STATEMENTS:
        match = pattern.fullmatch(text)
        if match:
            return (kind, *match.groups())
    return ("other",)


Facts = Sequence[tuple[str, ...]]


def _walk(facts: Facts) -> Iterator[tuple[tuple[str, ...], dict[str, tuple[str, ...]]]]:
    """Go through a story: each fact, pronouns replaced, and what was told last of each person.

    That is ("go", room), ("out", room) or ("either", room, room).
    """
    beliefs: dict[str, tuple[str, ...]] = {}
    before: tuple[str, ...] = ("other",)
    for fact in facts:
        named = fact
        if fact[0] == "go" and fact[1] in PRONOUNS:
            # A pronoun stands for the person of the statement just before.
            fits = before[0] == "go" and before[1] in PRONOUNS[fact[1]]
            named = ("go", before[1], fact[2]) if fits else ("other",)
        elif fact[:2] == ("go", "they"):
            named = (*before[:3], fact[2]) if before[0] == "go both" else ("other",)
        if named[0] == "go both":
            beliefs[named[1]] = beliefs[named[2]] = ("go", named[3])
        elif named[0] in ("go", "out", "either"):
            beliefs[named[1]] = (named[0], *named[2:])
        # They must follow two names directly; a single person may go on and on.
        before = fact if fact[1:2] == ("they",) else named
        yield named, beliefs


def _belief(facts: Facts, person: str) -> tuple[str, ...] | None:
    belief = None
    for _, beliefs in _walk(facts):
        belief = beliefs.get(person)
    return belief


def _where_person(facts: Facts, person: str) -> Answer:
    belief = _belief(facts, person)
    return (belief[1],) if belief and belief[0] == "go" else None


def _is_person_in(facts: Facts, person: str, room: str) -> Answer:
    belief = _belief(facts, person)
    if belief is None or (belief[0] == "out" and room != belief[1]):
        return None
    if belief[0] == "out" or room not in belief[1:]:
        return ("no",)
    return ("yes",) if belief[0] == "go" else ("maybe",)


def _things(facts: Facts) -> tuple[dict[str, str], dict[str, list[str | None]]]:
    """Follow things: who carries each, in the order of taking, and the rooms it came through."""
    carried: dict[str, str] = {}
    rooms: dict[str, list[str | None]] = {}
    for fact, beliefs in _walk(facts):
        if fact[0] == "take":
            carried.pop(fact[2], None)
            carried[fact[2]] = fact[1]
            changed = [fact[2]]
        elif fact[0] == "give":
            carried.pop(fact[2], None)
            carried[fact[2]] = fact[3]
            changed = [fact[2]]
        elif fact[0] == "drop":
            carried.pop(fact[2], None)
            changed = [fact[2]]
        else:
            changed = [thing for thing, person in carried.items() if person in fact[1:]]
        for thing in changed:
            person = carried.get(thing, fact[1])
            belief = beliefs.get(person)
            room = belief[1] if belief and belief[0] == "go" else None
            way = rooms.setdefault(thing, [])
            if not way or way[-1] != room:
                way.append(room)
    return carried, rooms


def _where_thing(facts: Facts, thing: str) -> Answer:
    way = _things(facts)[1].get(thing)
    return (way[-1],) if way and way[-1] else None


def _before_room(facts: Facts, thing: str, room: str) -> Answer:
    way = _things(facts)[1].get(thing, [])
    stays = [k for k, visited in enumerate(way) if visited == room]
    former = way[stays[-1] - 1] if stays and stays[-1] else None
    return (former,) if former else None


def _count(facts: Facts, person: str) -> Answer:
    carried, _ = _things(facts)
    return (COUNTS[sum(holder == person for holder in carried.values())],)


def _list(facts: Facts, person: str) -> Answer:
    carried, _ = _things(facts)
    return tuple(thing for thing, holder in carried.items() if holder == person) or ("nothing",)


def _gift(facts: Facts, wanted: int, given: dict[int, str]) -> Answer:
    for fact in reversed(facts):
        if fact[0] == "give" and all(fact[k] == name for k, name in given.items()):
            return (fact[wanted],)
    return None


def _before_time(facts: Facts, person: str, room: str) -> Answer:
    visits = {}
    for fact in facts:
        if fact[0] == "went when" and fact[1] == person:
            visits[TIMES.index(fact[3])] = fact[2]
        elif fact[0] == "when went" and fact[2] == person:
            visits[TIMES.index(fact[1])] = fact[3]
    order = [visits[time] for time in sorted(visits)]
    if room not in order[1:]:
        return None
    return (order[order.index(room, 1) - 1],)


def _beside(facts: Facts, side: str, room: str) -> Answer:
    found = [fact[1] for fact in facts if fact[0] == "compass" and fact[2:] == (side, room)]
    return (found[-1],) if found else None


def _beside_what(facts: Facts, room: str, side: str) -> Answer:
    found = [fact[3] for fact in facts if fact[0] == "compass" and fact[1:3] == (room, side)]
    return (found[-1],) if found else None


def _fear(facts: Facts, name: str) -> Answer:
    kinds = [fact[2] for fact in facts if fact[0] == "kind" and fact[1] == name]
    fears = {SINGULAR.get(f[1], f[1]): SINGULAR.get(f[2], f[2]) for f in facts if f[0] == "fear"}
    return (fears[kinds[-1]],) if kinds and kinds[-1] in fears else None


def _color(facts: Facts, name: str) -> Answer:
    kinds = {fact[1]: fact[2] for fact in facts if fact[0] == "kind"}
    colors = {fact[1]: fact[2] for fact in facts if fact[0] == "is"}
    if name in colors:
        return (colors[name],)
    alike = [other for other, kind in kinds.items() if kind == kinds.get(name)]
    seen = [colors[other] for other in alike if other in colors]
    return (seen[-1],) if seen else None


def _feeling(facts: Facts, name: str) -> Answer:
    found = [fact[2] for fact in facts if fact[:2] == ("is", name)]
    return (found[-1],) if found else None


def _destination(facts: Facts, name: str) -> Answer:
    feeling = _feeling(facts, name)
    return (MOTIVES[feeling[0]],) if feeling and feeling[0] in MOTIVES else None


def _relative(facts: Facts, first: str, side: str, second: str) -> Answer:
    neighbors: dict[str, list[tuple[str, tuple[int, int]]]] = {}
    for fact in facts:
        if fact[0] == "side":
            x, y = STEPS[fact[2]]
            neighbors.setdefault(fact[3], []).append((fact[1], (x, y)))
            neighbors.setdefault(fact[1], []).append((fact[3], (-x, -y)))
    places, waiting = {second: (0, 0)}, deque([second])
    while waiting:
        here = waiting.popleft()
        for other, (x, y) in neighbors.get(here, []):
            if other not in places:
                places[other] = (places[here][0] + x, places[here][1] + y)
                waiting.append(other)
    if first not in places:
        return None
    x, y = STEPS[side]
    return ("yes",) if places[first][0] * x + places[first][1] * y > 0 else ("no",)


def _larger(facts: Facts, large: str, small: str) -> bool:
    reached, waiting = {small}, [small]
    while waiting:
        here = waiting.pop()
        for fact in facts:
            pair = {"bigger": fact[2:0:-1], "smaller": fact[1:]}.get(fact[0])
            if pair and pair[0] == here and pair[1] not in reached:
                reached.add(pair[1])
                waiting.append(pair[1])
    return large in reached


def _bigger(facts: Facts, first: str, second: str) -> Answer:
    if _larger(facts, first, second):
        return ("yes",)
    return ("no",) if _larger(facts, second, first) else None


def _way(facts: Facts, start: str, end: str) -> Answer:
    doors: dict[str, list[tuple[str, str]]] = {}
    back = {"north": "south", "south": "north", "east": "west", "west": "east"}
    for fact in facts:
        if fact[0] == "compass":
            doors.setdefault(fact[3], []).append((fact[1], fact[2]))
            doors.setdefault(fact[1], []).append((fact[3], back[fact[2]]))
    ways: dict[str, tuple[str, ...]] = {start: ()}
    waiting = deque([start])
    while waiting:
        here = waiting.popleft()
        for room, side in doors.get(here, []):
            if room not in ways:
                ways[room] = (*ways[here], side[0])
                waiting.append(room)
    return ways.get(end)


_QUESTIONS: tuple[tuple[str, Callable[..., Answer]], ...] = (
    (r"where is the (\w+)", _where_thing),
    (r"where is (\w+)", _where_person),
    (r"where was the (\w+) before the (\w+)", _before_room),
    (r"where was (\w+) before the (\w+)", _before_time),
    (r"is (\w+) in the (\w+)", _is_person_in),
    (r"how many objects is (\w+) carrying", _count),
    (r"what is (\w+) carrying", _list),
    (r"what is (north|south|east|west) of the (\w+)", _beside),
    (r"what is the (\w+) (north|south|east|west) of", _beside_what),
    (r"what did (\w+) give to (\w+)", lambda f, g, r: _gift(f, 2, {1: g, 3: r})),
    (r"who gave the (\w+) to (\w+)", lambda f, t, r: _gift(f, 1, {2: t, 3: r})),
    (r"who did (\w+) give the (\w+) to", lambda f, g, t: _gift(f, 3, {1: g, 2: t})),
    (r"who gave the (\w+)", lambda f, t: _gift(f, 1, {2: t})),
    (r"who received the (\w+)", lambda f, t: _gift(f, 3, {2: t})),
    (r"what is (\w+) afraid of", _fear),
    (r"what color is (\w+)", _color),
    (rf"is the ([\w ]+) {SIDE} the ([\w ]+)", _relative),
    (r"does the ([\w ]+) fit in the ([\w ]+)", lambda f, a, b: _bigger(f, b, a)),
    (r"is the ([\w ]+) bigger than the ([\w ]+)", _bigger),
    (r"where will (\w+) go", _destination),
    (r"why did (\w+) (?:go to|get) the \w+", _feeling),
    (r"how do you go from the (\w+) to the (\w+)", _way),
)
