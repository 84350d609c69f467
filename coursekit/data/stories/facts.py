"""Stories of facts that hold at once, to be joined by reasoning: bAbI tasks 4 and 15 to 20.

Each fact that an answer needs is told once, so every supporting statement is needed and no other
matters.
"""

from __future__ import annotations

from coursekit.data.stories.story import Asked, Chance, Story, Teller
from coursekit.data.stories.worlds import GO, ROOMS, TAKE

COMPASS = {"north": (0, 1), "east": (1, 0), "south": (0, -1), "west": (-1, 0)}
SIDES = {
    "above": (0, 1),
    "below": (0, -1),
    "to the right of": (1, 0),
    "to the left of": (-1, 0),
}
ANIMALS = {"mouse": "mice", "sheep": "sheep", "wolf": "wolves", "cat": "cats"}
FEARFUL = ("Gertrude", "Winona", "Jessica", "Emily")
COLORED = ("Lily", "Bernhard", "Greg", "Brian", "Julius")
KINDS = ("swan", "lion", "frog", "rhino")
COLORS = ("white", "green", "gray", "yellow")
SHAPES = (
    "triangle",
    "red square",
    "blue square",
    "yellow square",
    "pink rectangle",
    "red sphere",
)
MOTIVES = {
    "tired": ("bedroom", "pajamas"),
    "bored": ("garden", "football"),
    "hungry": ("kitchen", "apple"),
    "thirsty": ("kitchen", "milk"),
}
AGENTS = ("Antoine", "Jason", "Sumit", "Yann")
SIZED = ("chocolate", "book", "box", "chest", "suitcase", "container")


def _opposite(table: dict[str, tuple[int, int]], name: str) -> str:
    x, y = table[name]
    return next(other for other, step in table.items() if step == (-x, -y))


def two_arguments(chance: Chance) -> Story:
    """Task 4, "What is north of the garden?" and "What is the garden north of?": one of two facts.

    Both rooms lie on different sides of the one in the middle.
    """
    teller = Teller(chance)
    middle, *others = teller.shuffle(ROOMS)[:3]
    sides = teller.shuffle(list(COMPASS))[:2]
    candidates = []
    for room, side in zip(others, sides, strict=True):
        first, second = room, middle
        if teller.coin():
            first, second, side = middle, room, _opposite(COMPASS, side)
        statement = teller.say(f"the {first} is {side} of the {second}")
        candidates += [
            Asked(f"What is {side} of the {second}", (first,), (statement,)),
            Asked(f"What is the {first} {side} of", (second,), (statement,)),
        ]
    chosen = teller.pick(candidates)
    teller.ask(chosen.text, chosen.answer, chosen.supporting)
    return teller.story()


def deduction(chance: Chance) -> Story:
    """Task 15, "What is Emily afraid of?": of what kind she is, and what that kind fears."""
    teller = Teller(chance)
    kinds = list(ANIMALS)
    fears = {kind: teller.pick([other for other in kinds if other != kind]) for kind in kinds}
    belongs = {name: teller.pick(kinds) for name in FEARFUL}
    told = {}
    for subject in teller.shuffle([*kinds, *FEARFUL]):
        if subject in fears:
            sentence = f"{ANIMALS[subject]} are afraid of {ANIMALS[fears[subject]]}"
        else:
            sentence = f"{subject} is a {belongs[subject]}"
        told[subject] = teller.say(sentence)
    for name in teller.shuffle(FEARFUL):
        kind = belongs[name]
        support = sorted((told[name], told[kind]))
        teller.ask(f"What is {name.lower()} afraid of", [fears[kind]], support)
    return teller.story()


def induction(chance: Chance) -> Story:
    """Task 16, "What color is Brian?": his kind, the one other of that kind, and its color."""
    teller = Teller(chance)
    asked, like, *rest = teller.shuffle(COLORED)
    kind, *kinds = teller.shuffle(KINDS)
    belongs = {asked: kind, like: kind} | {name: teller.pick(kinds) for name in rest}
    colors = {each: teller.pick(COLORS) for each in KINDS}
    facts = [(name, "a " + belongs[name]) for name in belongs]
    facts += [(name, colors[belongs[name]]) for name in belongs if name != asked]
    told = {fact: teller.say(f"{fact[0]} is {fact[1]}") for fact in teller.shuffle(facts)}
    support = (told[asked, "a " + kind], told[like, "a " + kind], told[like, colors[kind]])
    teller.ask(f"What color is {asked}", [colors[kind]], support)
    return teller.story()


def positions(chance: Chance) -> Story:
    """Task 17, "Is the triangle above the red square?": each fact moves one step on a grid.

    What is above something is not left or right of it. Of the eight questions four are answered
    yes; the three shapes lie in three places.
    """
    teller = Teller(chance)
    middle, *others = teller.shuffle(SHAPES)[:3]
    sides = teller.shuffle(list(SIDES))[:2]  # two sides, so two places
    place, fact = {middle: (0, 0)}, {middle: -1}
    for shape, side in zip(others, sides, strict=True):
        place[shape] = SIDES[side]
        first, second = shape, middle
        if teller.coin():
            first, second, side = middle, shape, _opposite(SIDES, side)
        fact[shape] = teller.say(f"the {first} is {side} the {second}")
    candidates: dict[bool, list[Asked]] = {True: [], False: []}
    for first in place:
        for second in place:
            support = tuple(sorted({fact[first], fact[second]} - {-1}))
            for side, (x, y) in SIDES.items() if first != second else ():
                away = [a - b for a, b in zip(place[first], place[second], strict=True)]
                answer = away[0] * x + away[1] * y > 0
                text = f"Is the {first} {side} the {second}"
                candidates[answer].append(Asked(text, ("yes" if answer else "no",), support))
    chosen = [asked for answer in (True, False) for asked in teller.shuffle(candidates[answer])[:4]]
    for question in teller.shuffle(chosen):
        teller.ask(question.text, question.answer, question.supporting)
    return teller.story()


def sizes(chance: Chance) -> Story:
    """Task 18, "Does the box fit in the chest?": a chain of comparisons, each told once."""
    teller = Teller(chance)
    ordered = teller.shuffle(SIZED)[:5]  # from the smallest to the largest
    told = {}
    for k in teller.shuffle(range(4)):
        small, large = ordered[k], ordered[k + 1]
        bigger = f"the {large} is bigger than the {small}"
        told[k] = teller.say(bigger if teller.coin() else f"the {small} fits inside the {large}")
    pairs = [(i, j) for i in range(5) for j in range(i + 1, 5) if j - i > 1]
    for low, high in teller.shuffle(pairs)[:5]:
        first, second = (low, high) if teller.coin() else (high, low)
        if teller.coin():
            text = f"Does the {ordered[first]} fit in the {ordered[second]}"
            answer = first < second
        else:
            text = f"Is the {ordered[first]} bigger than the {ordered[second]}"
            answer = first > second
        support = sorted(told[k] for k in range(low, high))
        teller.ask(text, ["yes" if answer else "no"], support)
    return teller.story()


def paths(chance: Chance) -> Story:
    """Task 19, "How do you go from the garden to the office?": two steps through five facts.

    The facts join six rooms on a grid to a tree, so there is one way. The support follows it.
    """
    teller = Teller(chance)
    first, *rooms = teller.shuffle(ROOMS)
    place = {first: (0, 0)}
    edges: list[tuple[str, str, str]] = []  # a room, the next, and the way there
    for room in rooms:
        free = [
            (other, side, spot)
            for other, (x, y) in place.items()
            for side, (dx, dy) in COMPASS.items()
            if (spot := (x + dx, y + dy)) not in place.values()
        ]
        other, side, place[room] = teller.pick(free)
        edges.append((other, room, side))
    told: dict[tuple[str, str], tuple[str, int]] = {}
    for start, end, side in teller.shuffle(edges):
        back = _opposite(COMPASS, side)
        if teller.coin():
            statement = teller.say(f"the {end} is {side} of the {start}")
        else:
            statement = teller.say(f"the {start} is {back} of the {end}")
        told[start, end], told[end, start] = (side, statement), (back, statement)
    ways = [(one, two) for one in told for two in told if one[1] == two[0] and one[0] != two[1]]
    one, two = teller.pick(ways)
    steps = (told[one], told[two])
    text = f"How do you go from the {one[0]} to the {two[1]}"
    teller.ask(text, [side[0] for side, _ in steps], [statement for _, statement in steps])
    return teller.story()


def motives(chance: Chance) -> Story:
    """Task 20, "Where will Jason go?" and "Why did Jason go to the kitchen?": how he feels.

    The tired go to the bedroom for pajamas, the bored to the garden for a football, the hungry
    and the thirsty to the kitchen for an apple and for milk: that is to be known or learned.
    """
    teller = Teller(chance)
    feels = dict(zip(teller.shuffle(AGENTS), MOTIVES, strict=True))
    told: dict[str, int] = {}
    turns = teller.shuffle([agent for agent in AGENTS for _ in range(3)])
    for position, agent in enumerate(turns):
        room, thing = MOTIVES[feels[agent]]
        name = agent.lower()
        turn = turns[:position].count(agent)
        if turn == 0:
            told[agent] = teller.say(f"{agent} is {feels[agent]}")
            teller.ask(f"Where will {name} go", [room], [told[agent]])
        elif turn == 1:
            teller.say(f"{agent} {teller.pick(GO)} the {room}")
            teller.ask(f"Why did {name} go to the {room}", [feels[agent]], [told[agent]])
        else:
            teller.say(f"{agent} {teller.pick(TAKE)} the {thing} there")
            teller.ask(f"Why did {name} get the {thing}", [feels[agent]], [told[agent]])
    return teller.story()
