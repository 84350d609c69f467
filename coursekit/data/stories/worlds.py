"""Stories of people who walk through rooms and carry things: bAbI tasks 1 to 3, 5 to 14.

A question is asked only where its supporting statements are exact: with any one of them struck
out the answer would be another or unknown, and no other statement matters. The conditions stand
beside each task, with the case that they exclude.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from coursekit.data.stories.story import Asked, Chance, Story, Teller

QUESTIONS = 5  # a story, as published
PEOPLE = ("Daniel", "John", "Mary", "Sandra")
FEMALE = frozenset({"Mary", "Sandra"})
ROOMS = ("bathroom", "bedroom", "garden", "hallway", "kitchen", "office")
THINGS = ("apple", "football", "milk")
GO = ("went to", "went back to", "moved to", "journeyed to", "travelled to")
TAKE = ("got", "took", "grabbed", "picked up")
DROP = ("dropped", "left", "discarded", "put down")
GIVE = ("gave", "handed", "passed")
NUMBERS = ("none", "one", "two", "three")
TIMES = ("yesterday", "this morning", "this afternoon", "this evening")
Belief = tuple[str, ...]  # ("in", room), ("not", room), ("either", room, room) or nothing


class World(Teller):
    """Where people and things are, and which statements said so.

    Args:
        chance: Source of all chance.
        rooms: The rooms there are.

    Attributes:
        moves: For each person (statement, room), oldest first.
        handled: For each thing (statement, person, taken or not, rooms of `trail` before it).
        trail: For each thing the rooms it was in, no room twice in a row.
    """

    def __init__(self, chance: Chance, rooms: Sequence[str] = ROOMS):
        super().__init__(chance)
        self.rooms = rooms
        self.moves: dict[str, list[tuple[int, str]]] = {person: [] for person in PEOPLE}
        self.handled: dict[str, list[tuple[int, str, bool, int]]] = {t: [] for t in THINGS}
        self.trail: dict[str, list[str]] = {thing: [] for thing in THINGS}
        self.gifts: list[tuple[int, str, str, str]] = []  # statement, giver, thing, receiver

    def place(self, person: str) -> str | None:
        """Room of a person, None before the first move."""
        return self.moves[person][-1][1] if self.moves[person] else None

    def holder(self, thing: str) -> str | None:
        """Person who carries a thing, None if nobody does."""
        events = self.handled[thing]
        return events[-1][1] if events and events[-1][2] else None

    def move(self, *people: str) -> None:
        """Send people to a room where none of them is."""
        here = {self.place(person) for person in people}
        room = self.pick([room for room in self.rooms if room not in here])
        statement = self.say(f"{' and '.join(people)} {self.pick(GO)} the {room}")
        for person in people:
            self.moves[person].append((statement, room))
            for thing in THINGS:
                if self.holder(thing) == person:
                    self.trail[thing].append(room)

    def handle(self) -> bool:
        """Take or drop something, if somebody can."""
        person = self.pick(PEOPLE)
        thing = self.pick(THINGS)
        room, holder, trail = self.place(person), self.holder(thing), self.trail[thing]
        free = holder is None and (not trail or trail[-1] == room)
        if room is None or not (free or holder == person):
            return False
        there = " there" if self.coin(0.3) else ""
        statement = self.say(f"{person} {self.pick(TAKE if free else DROP)} the {thing}{there}")
        self.handled[thing].append((statement, person, free, len(trail)))
        if free and not trail:
            trail.append(room)
        return True

    def give(self) -> bool:
        """Give something to a person in the same room, if somebody can."""
        pairs = [
            (giver, thing, other)
            for thing in THINGS
            if (giver := self.holder(thing)) is not None
            for other in PEOPLE
            if other != giver and self.place(other) == self.place(giver)
        ]
        if not pairs:
            return False
        giver, thing, other = self.pick(pairs)
        statement = self.say(f"{giver} {self.pick(GIVE)} the {thing} to {other}")
        self.gifts.append((statement, giver, thing, other))
        self.handled[thing].append((statement, other, True, len(self.trail[thing])))
        return True

    def act(self, handling: float) -> None:
        """Let one thing happen: with probability `handling` somebody takes or drops something."""
        if not (self.coin(handling) and self.handle()):
            self.move(self.pick(PEOPLE))


def one_fact(chance: Chance) -> Story:
    """Task 1, "Where is Mary?": supported by her last move, as nobody goes where he is."""
    world = World(chance)
    for _ in range(QUESTIONS):
        world.act(0)
        world.act(0)
        world.ask_evenly(_places(world))
    return world.story()


def _places(world: World, statements: int = 1) -> list[Asked]:
    """Ask where people are; the last statement on them supports it, or the last few."""
    last = {person: world.moves[person][-1] for person in PEOPLE if world.moves[person]}
    return [
        Asked(f"Where is {person}", (room,), tuple(range(end - statements + 1, end + 1)))
        for person, (end, room) in last.items()
    ]


def two_facts(chance: Chance) -> Story:
    """Task 2, "Where is the football?": who handled it last, and where that person was.

    Carried on, taken where its holder had gone, and dropped are asked as evenly as can be.
    """
    world = World(chance)
    for _ in range(QUESTIONS):
        for _ in range(2 + chance.below(7)):
            world.act(0.4)
        while not any(kinds := [world.fresh(kind) for kind in _places_of_things(world)]):
            world.act(0.4)
        chosen = world.pick(world.pick([kind for kind in kinds if kind]))
        world.ask(chosen.text, chosen.answer, chosen.supporting)
    return world.story()


def _places_of_things(world: World) -> tuple[list[Asked], list[Asked], list[Asked]]:
    """Ask where things are: those carried on, those taken where the holder was, those dropped."""
    carried: list[Asked] = []
    taken_here: list[Asked] = []
    dropped: list[Asked] = []
    for thing in THINGS:
        if not world.handled[thing]:
            continue
        handled, person, taken, before = world.handled[thing][-1]
        moves = world.moves[person]
        moved, room = moves[-1] if taken else [m for m in moves if m[0] < handled][-1]
        if taken:
            # Struck out, the thing would be unknown, or where it lay before.
            exact = not before or world.trail[thing][before - 1] != room
        else:
            # Struck out, the person would still carry it.
            exact = moves[-1][1] != room
        if exact:
            asked = Asked(f"Where is the {thing}", (room,), tuple(sorted((moved, handled))))
            (dropped if not taken else taken_here if moved < handled else carried).append(asked)
    return carried, taken_here, dropped


def three_facts(chance: Chance) -> Story:
    """Task 3, "Where was the football before the garden?": taken, carried there, and on.

    "Before the garden" is before the last time that it came there.
    """
    world = World(chance)
    for _ in range(QUESTIONS):
        for _ in range(4 + chance.below(5)):
            world.act(0.35)
        while not (candidates := world.fresh(_ways_of_things(world))):
            world.act(0.35)
        world.ask_evenly(candidates)
    return world.story()


def _ways_of_things(world: World) -> list[Asked]:
    candidates = []
    for thing in THINGS:
        takes = [k for k, event in enumerate(world.handled[thing]) if event[2]]
        if not takes:
            continue
        taken, person, _, before = world.handled[thing][takes[-1]]
        dropped = [event[0] for event in world.handled[thing][takes[-1] + 1 :]]
        end = dropped[0] if dropped else world.count
        moves = world.moves[person]
        carried = [k for k in range(1, len(moves)) if taken < moves[k][0] < end]
        for k in carried:
            (first, room), (second, target) = moves[k - 1], moves[k]
            here = max(before, 1) + k - carried[0]  # of the arrival in the trail
            left = world.trail[thing][:before]
            at_once = bool(dropped) and k == carried[-1] and bool(left) and left[-1] == room
            if (
                all(later != target for _, later in moves[k + 1 :])
                # `first` struck out: the way would lead from the room before it.
                and (k < 2 or moves[k - 2][1] != target)
                # `second` struck out: an earlier arrival would count.
                and _before(world.trail[thing][:here], target) != room
                # `taken` struck out: so would one before it, or being dropped in the target.
                and _before(left, target) != room
                and not at_once
            ):
                question = f"Where was the {thing} before the {target}"
                candidates.append(Asked(question, (room,), tuple(sorted((first, taken, second)))))
    return candidates


def _before(trail: Sequence[str], room: str) -> str | None:
    """Give the room before the last stay in `room`."""
    stays = [k for k, visited in enumerate(trail) if visited == room]
    return trail[stays[-1] - 1] if stays and stays[-1] else None


def gifts(chance: Chance) -> Story:
    """Task 5, "Who gave the football to John?" and four forms more: the last gift that fits."""
    world = World(chance, ROOMS[:3])
    for _ in range(QUESTIONS):
        given = len(world.gifts)
        while len(world.gifts) == given or not (candidates := _given(world)):
            if not (world.coin(0.6) and world.give()):
                world.act(0.4)
        world.ask_evenly(candidates)
    return world.story()


def _given(world: World) -> list[Asked]:
    candidates = []
    statement, giver, thing, receiver = world.gifts[-1]
    forms = (
        (f"What did {giver} give to {receiver}", (1, 3), 2),
        (f"Who gave the {thing} to {receiver}", (2, 3), 1),
        (f"Who did {giver} give the {thing} to", (1, 2), 3),
        (f"Who gave the {thing}", (2,), 1),
        (f"Who received the {thing}", (2,), 3),
    )
    last = world.gifts[-1]
    for text, asked, answer in forms:
        fitting = [gift for gift in world.gifts[:-1] if all(gift[k] == last[k] for k in asked)]
        # Struck out, the gift before it that fits would count.
        if not fitting or fitting[-1][answer] != last[answer]:
            candidates.append(Asked(text, (str(last[answer]).lower(),), (statement,)))
    return candidates


def yes_no(chance: Chance) -> Story:
    """Task 6, "Is John in the garden?": answered no for the room that he just left, if known."""
    world = World(chance)
    for _ in range(QUESTIONS):
        world.act(0.3)
        world.act(0.3)
        while not any(world.moves.values()):
            world.act(0)
        candidates = []
        for person in PEOPLE:
            if not world.moves[person]:
                continue
            statement, room = world.moves[person][-1]
            candidates.append(Asked(f"Is {person} in the {room}", ("yes",), (statement,)))
            # Of another room the answer would stay no without the statement.
            left = [other for _, other in world.moves[person][-2:-1]]
            other = left[0] if left else world.pick([r for r in ROOMS if r != room])
            candidates.append(Asked(f"Is {person} in the {other}", ("no",), (statement,)))
        world.ask_evenly(candidates)
    return world.story()


def counting(chance: Chance) -> Story:
    """Task 7, "How many objects is Mary carrying?": for each thing that she had last, how."""
    return _carrying(chance, count=True)


def listing(chance: Chance) -> Story:
    """Task 8, "What is Mary carrying?": the things in the order in which she took them."""
    return _carrying(chance, count=False)


def _carrying(chance: Chance, count: bool) -> Story:
    world = World(chance)
    for _ in range(QUESTIONS):
        for _ in range(2):
            if not world.handle():
                world.act(0.7)
        end = world.count + 4
        # Wait a little for a second answer: most people carry one thing.
        while len({asked.answer for asked in _loads(world, count)}) < 2 and (
            world.count < end or not any(world.handled.values())
        ):
            world.act(0.7)
        world.ask_evenly(_loads(world, count))
    return world.story()


def _loads(world: World, count: bool) -> list[Asked]:
    candidates = []
    for person in PEOPLE:
        # Somebody else's later handling makes a thing of no account.
        last = sorted(e for t in THINGS for e in world.handled[t][-1:] if e[1] == person)
        if not last:
            continue
        mine = {world.handled[t][-1][0]: t for t in THINGS if world.holder(t) == person}
        things = tuple(mine[statement] for statement in sorted(mine))
        support = tuple(event[0] for event in last)
        if count:
            text = f"How many objects is {person} carrying"
            candidates.append(Asked(text, (NUMBERS[len(things)],), support))
        else:
            text = f"What is {person} carrying"
            candidates.append(Asked(text, things or ("nothing",), support))
    return candidates


def negation(chance: Chance) -> Story:
    """Task 9, "Is John in the office?" after "John is no longer in the office."."""

    def tell(world: World, person: str, here: Belief) -> Belief:
        if here[:1] == ("in",) and world.coin(0.4):
            world.say(f"{person} is no longer in the {here[1]}")
            return ("not", here[1])
        room = world.pick([room for room in ROOMS if room not in here])
        if world.coin(0.25):
            world.say(f"{person} is not in the {room}")
            return ("not", room)
        world.say(f"{person} {world.pick(('is in', *GO))} the {room}")
        return ("in", room)

    return _beliefs(chance, tell)


def indefinite(chance: Chance) -> Story:
    """Task 10, "Is John in the office?" after "John is either in the office or the garden."."""

    def tell(world: World, person: str, here: Belief) -> Belief:
        rooms = world.shuffle([room for room in ROOMS if room not in here])
        if world.coin(0.45):
            world.say(f"{person} is either in the {rooms[0]} or the {rooms[1]}")
            return ("either", rooms[0], rooms[1])
        world.say(f"{person} {world.pick(('is in', *GO))} the {rooms[0]}")
        return ("in", rooms[0])

    return _beliefs(chance, tell)


def _beliefs(chance: Chance, tell: Callable[[World, str, Belief], Belief]) -> Story:
    """Ask whether people are in rooms where the last statement on them changed the answer."""
    world = World(chance)
    known: dict[str, list[tuple[int, Belief]]] = {person: [] for person in PEOPLE}

    def step() -> None:
        person = world.pick(PEOPLE)
        belief = tell(world, person, known[person][-1][1] if known[person] else ())
        known[person].append((world.count - 1, belief))

    for _ in range(QUESTIONS):
        step()
        step()
        while not (candidates := [asked for p in PEOPLE for asked in _presence(p, known[p])]):
            step()
        world.ask_evenly(candidates)
    return world.story()


def _presence(person: str, known: Sequence[tuple[int, Belief]]) -> list[Asked]:
    if not known:
        return []
    statement, belief = known[-1]
    former = known[-2][1] if len(known) > 1 else ()
    answers = [(room, _is_in(belief, room)) for room in ROOMS]
    return [
        Asked(f"Is {person} in the {room}", (answer,), (statement,))
        for room, answer in answers
        if answer is not None and answer != _is_in(former, room)
    ]


def _is_in(belief: Belief, room: str) -> str | None:
    if not belief:
        return None
    if belief[0] == "not":
        return "no" if room == belief[1] else None
    return {"in": "yes", "either": "maybe"}[belief[0]] if room in belief[1:] else "no"


def coreference(chance: Chance) -> Story:
    """Task 11, "Where is Mary?" after "Mary went to the office. Then she moved to the garden."."""
    women = chance.below(2)

    def choose(world: World) -> list[str]:
        # Women and men take turns, so that a pronoun never fits the person before.
        turn = (len(world.lines) // 3 + women) % 2 == 0
        return [world.pick([person for person in PEOPLE if (person in FEMALE) == turn])]

    return _pronouns(chance, choose)


def compound_coreference(chance: Chance) -> Story:
    """Task 13, "Where is Mary?" after "Mary and John went to the office. Then they moved to …"."""
    return _pronouns(chance, lambda world: world.shuffle(PEOPLE)[:2])


def _pronouns(chance: Chance, choose: Callable[[World], list[str]]) -> Story:
    """Send people to a room, and on to another where none of them was before both."""
    world = World(chance)
    for _ in range(QUESTIONS):
        people = choose(world)
        former = {world.place(person) for person in people}
        world.move(*people)
        former.add(world.place(people[0]))
        room = world.pick([room for room in ROOMS if room not in former])
        pronoun = "they" if len(people) > 1 else "she" if people[0] in FEMALE else "he"
        then = world.pick(("then", "after that", "afterwards", "following that"))
        statement = world.say(f"{then} {pronoun} {world.pick(GO)} the {room}")
        for person in people:
            world.moves[person].append((statement, room))
        world.ask_evenly(_places(world, statements=2))
    return world.story()


def conjunction(chance: Chance) -> Story:
    """Task 12, "Where is Mary?" after "Mary and John went to the office."."""
    world = World(chance)
    for _ in range(QUESTIONS):
        world.move(*world.shuffle(PEOPLE)[:2])
        world.move(*world.shuffle(PEOPLE)[:2])
        world.ask_evenly(_places(world))
    return world.story()


def times(chance: Chance) -> Story:
    """Task 14, "Where was Mary before the park?": told out of order, with the time of each move.

    Nobody is in a room twice. "Before" is the latest earlier time that has been told.
    """
    world = World(chance)
    rooms = ("bedroom", "cinema", "kitchen", "office", "park", "school")
    people = world.shuffle(PEOPLE)[:3]
    facts = []
    for person in people:
        visited = world.shuffle(rooms)
        facts += [(person, time, visited[time]) for time in range(len(TIMES))]
    facts = world.shuffle(facts)
    told: dict[str, dict[int, tuple[int, str]]] = {person: {} for person in people}
    asked = 0
    for position, (person, time, room) in enumerate(facts):
        sentence = f"{person} {world.pick(GO)} the {room}"
        front = world.coin()
        sentence = f"{TIMES[time]} {sentence}" if front else f"{sentence} {TIMES[time]}"
        told[person][time] = (world.say(sentence), room)
        candidates = []
        for who in people:
            known = sorted(told[who])
            for earlier, later in itertools.pairwise(known):
                (first, answer), (second, target) = told[who][earlier], told[who][later]
                text = f"Where was {who} before the {target}"
                candidates.append(Asked(text, (answer,), tuple(sorted((first, second)))))
        candidates = world.fresh(candidates)
        if candidates and (position % 2 or position == len(facts) - 1) and asked < QUESTIONS:
            world.ask_evenly(candidates)
            asked += 1
    return world.story()
