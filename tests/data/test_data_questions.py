"""Visual questions: answers against an independent reader, balance, and where to look."""

import collections
import re

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from coursekit.data import load, questions
from coursekit.data.questions import (
    ANSWERS,
    COLOR_ANSWERS,
    TYPES,
    Facts,
    IllPosed,
    Step,
    ask,
    execute,
    facts,
    trace,
    vocabulary,
    words,
)
from coursekit.data.scenes import CLASSES, COLORS, GROUPS, compose, plural


def scenes_and_questions(split, seed, examples):
    scenes = compose(load("scenes", split), 350, seed=seed, size=32)
    return scenes, ask(scenes, examples, seed=seed)


@pytest.fixture(scope="module")
def train():
    return scenes_and_questions("train", 1, 660)


@pytest.fixture(scope="module")
def test():
    return scenes_and_questions("test", 2, 440)


# Answers


NOUNS = {word: (name,) for name in CLASSES for word in (name, plural(name))}
NOUNS |= {word: names for group, names in GROUPS.items() for word in (group, plural(group))}
NOUNS |= {"object": CLASSES, "objects": CLASSES, "thing": CLASSES}


class Reader:
    """Answers a question from its text alone and the labels of the scene, in its own way."""

    def __init__(self, scenes, index):
        self.names = scenes.categories(index)
        self.sizes, self.colors = scenes.sizes[index], scenes.colors[index]
        boxes = scenes.boxes[index].numpy()
        self.x, self.y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
        self.area = scenes.masks[index].sum((1, 2)).numpy()

    def described(self, phrase):
        *adjectives, noun = re.sub(r"^(an?|the) ", "", phrase).split()
        found = [k for k, name in enumerate(self.names) if name in NOUNS[noun]]
        for word in adjectives:
            if word in COLORS:
                found = [k for k in found if self.colors[k] == word]
            elif word in ("small", "large"):
                found = [k for k in found if self.sizes[k] == word]
            else:
                value = {"l": self.area, "s": self.area}.get(word[0], self.x)
                value = {"leftmost": self.x, "highest": self.y, "lowest": self.y}.get(word, value)
                first = word in ("smallest", "leftmost", "highest")
                found = [(min if first else max)(found, key=lambda k: value[k])]
        return found

    def located(self, phrase):
        """Find "X", "X to the left of the Y" and so on."""
        parts = re.split(r" (to the left of|to the right of|above|below) ", phrase)
        found = self.described(parts[0])
        if len(parts) == 3:
            (anchor,) = self.described(parts[2])
            ahead = {
                "to the left of": self.x < self.x[anchor],
                "to the right of": self.x > self.x[anchor],
                "above": self.y < self.y[anchor],
                "below": self.y > self.y[anchor],
            }[parts[1]]
            found = [k for k in found if ahead[k] and k != anchor]
        return found

    def answer(self, text):
        text = text.rstrip("?")
        if match := re.fullmatch(r"are there (more|fewer) (.+) than (.+)", text):
            a, b = len(self.located(match[2])), len(self.located(match[3]))
            return "yes" if (a > b if match[1] == "more" else a < b) else "no"
        if match := re.fullmatch(r"(?:is there|can you see) (.+)", text):
            return "yes" if self.located(match[1]) else "no"
        text = re.sub(r" can you see$| are there$", "", text)
        if match := re.fullmatch(r"how many (.+)", text):
            phrase = re.sub(r" are( there)? ", " ", match[1])
            return str(len(self.located(phrase)))
        if match := re.fullmatch(r"what (?:color is|is the color of) the (.+)", text):
            return self.colors[self.only(match[1])]
        if match := re.fullmatch(r"what size is the (.+)|is the (.+) small or large", text):
            return self.sizes[self.only(match[1] or match[2])]
        phrase = re.fullmatch(r"(?:what|which thing) is (.+)", text)[1]
        phrase = phrase if re.match(r"the \w+est |the \w+most ", phrase) else f"thing {phrase}"
        return self.names[self.only(phrase)]

    def only(self, phrase):
        (found,) = self.located(phrase)
        return found


def test_every_answer_is_that_of_an_independent_reader(train, test):
    for scenes, asked in (train, test):
        for i, text in enumerate(asked.texts):
            assert Reader(scenes, int(asked.scenes[i])).answer(text) == asked.answers[i], text


def test_programs_give_the_answers_and_labels_index_them(test):
    scenes, asked = test
    for i, program in enumerate(asked.programs):
        assert execute(program, facts(scenes, int(asked.scenes[i]))) == asked.answers[i]
        assert ANSWERS[asked.labels[i]] == asked.answers[i]
        assert asked.answers[i] in asked.choices[i]


def test_a_program_has_a_relation_where_a_question_has_two_hops(test):
    _, asked = test
    for i, program in enumerate(asked.programs):
        relations = sum(step.function == "relate" for step in program)
        assert relations == int(asked.hops[i]) - 1 == len(asked.attended[i]) - 1
        assert TYPES[asked.types[i]] == asked.hops[i]


def test_related_questions_have_something_to_relate(test):
    scenes, asked = test
    for i in (asked.hops == 2).nonzero().flatten().tolist():
        assert len(scenes.labels[int(asked.scenes[i])]) >= 2


def test_attention_covers_the_objects_that_answer(test):
    scenes, asked = test
    for i in range(len(asked)):
        number = int(asked.scenes[i])
        attention = asked.attention(scenes, i)
        assert attention.shape == (int(asked.hops[i]), 32, 32)
        last = asked.attended[i][-1]
        if asked.types[i].startswith("count"):
            assert len(last) == int(asked.answers[i])
        elif asked.types[i].startswith("exist"):
            assert bool(last) == (asked.answers[i] == "yes")
        elif asked.types[i].startswith("category"):
            assert scenes.categories(number)[last[0]] == asked.answers[i]
        union = torch.zeros(32, 32, dtype=torch.bool)
        for k in last:
            union |= scenes.masks[number][k]
        assert torch.equal(attention[-1], union)
        if asked.hops[i] == 2:
            assert len(asked.attended[i][0]) == 1
            assert not (attention[0] & attention[1]).any()


# Balance


def test_types_have_equal_shares(train):
    counts = collections.Counter(train[1].types)
    assert set(counts.values()) == {60}
    assert sorted(counts) == sorted(TYPES)


def test_answers_of_a_sentence_are_balanced_up_to_one_block(train):
    _, asked = train
    tables = collections.defaultdict(collections.Counter)
    for i, text in enumerate(asked.texts):
        if not asked.types[i].startswith(("category-", "color-")):
            tables[asked.types[i], text, asked.choices[i]][asked.answers[i]] += 1
    uneven = collections.Counter()
    for (kind, _, choices), counts in tables.items():
        uneven[kind] += len({counts[choice] for choice in choices}) > 1
    assert max(uneven.values()) <= 1  # the last block of a type may be cut


def test_answers_about_neighbors_are_balanced_over_the_type():
    scenes = compose(load("scenes", "train"), 250, seed=4, size=32)
    for kind, answers in (("category-related", CLASSES), ("color-related", COLOR_ANSWERS)):
        asked = ask(scenes, len(answers) * 2, seed=0, types=[kind])
        assert collections.Counter(asked.answers) == dict.fromkeys(answers, 2)


def test_chance_is_the_mean_of_one_over_the_choices(train):
    _, asked = train
    by_type = collections.defaultdict(list)
    for kind, choices in zip(asked.types, asked.choices, strict=True):
        by_type[kind].append(1 / len(choices))
    assert np.mean(by_type["exist"]) == np.mean(by_type["size-related"]) == 0.5
    assert np.mean(by_type["count-related"]) == pytest.approx(1 / 3)
    assert np.mean(by_type["color"]) == pytest.approx(1 / 6)
    assert 1 / 20 <= np.mean(by_type["category-related"]) <= 1 / 19
    assert asked.chance == pytest.approx(np.mean([np.mean(v) for v in by_type.values()]))


def blind_accuracies(train, test):
    """Accuracy of two models that read the question alone, on questions about other objects."""
    truth = np.array(test.answers)
    vectors = CountVectorizer(ngram_range=(1, 4), token_pattern=r"\w+")
    inputs = vectors.fit_transform(train.texts)
    accuracies = {}
    for strength in (0.03, 0.3):
        model = LogisticRegression(C=strength, max_iter=300).fit(inputs, train.answers)
        guessed = model.predict(vectors.transform(test.texts))
        accuracies[f"logistic {strength}"] = (guessed == truth).mean()
    of_text, of_type = (collections.defaultdict(collections.Counter) for _ in range(2))
    for text, kind, answer in zip(train.texts, train.types, train.answers, strict=True):
        of_text[text][answer] += 1
        of_type[kind][answer] += 1
    guessed = [
        (of_text[text] or of_type[kind]).most_common(1)[0][0]
        for text, kind in zip(test.texts, test.types, strict=True)
    ]
    accuracies["majority"] = (np.array(guessed) == truth).mean()
    return accuracies


def test_reading_the_question_alone_is_no_better_than_chance(train, test):
    for model, accuracy in blind_accuracies(train[1], test[1]).items():
        assert accuracy < test[1].chance + 0.05, model


@pytest.mark.slow
def test_reading_thousands_of_questions_alone_is_no_better_than_chance():
    parts = [
        ask(compose(load("scenes", split), 2000, seed, size=32), 2200, seed)
        for split, seed in (("train", 1), ("test", 2))
    ]
    for model, accuracy in blind_accuracies(*parts).items():
        assert accuracy < parts[1].chance + 0.02, model


@pytest.mark.slow
def test_blind_model_finds_the_bias_of_unbalanced_questions(test):
    # The same check on questions as they come, without blocks: it must be able to fail.
    rng = np.random.default_rng(0)
    taken = []
    for split, seed in (("train", 1), ("test", 2)):
        scenes = compose(load("scenes", split), 100, seed=seed, size=32)
        items = [
            (item, 0)
            for i in range(len(scenes))
            for item in questions._candidates(facts(scenes, i), i, rng, tuple(TYPES))
        ]
        order = rng.permutation(len(items))[:1000]
        taken.append(questions._questions([items[i] for i in order]))
    accuracies = blind_accuracies(*taken)
    assert min(accuracies.values()) > taken[1].chance + 0.1


def test_every_color_that_is_asked_for_is_in_every_split():
    for split in ("train", "validation", "test"):
        assert set(COLOR_ANSWERS) <= set(load("scenes", split).colors)


# The interface


def test_vocabulary_covers_every_question(train, test):
    known = vocabulary()
    assert list(known) == sorted(set(known))
    used = {word for _, asked in (train, test) for text in asked.texts for word in words(text)}
    assert used <= set(known)
    assert len(used) > 0.9 * len(known)


def test_same_seed_asks_the_same_questions():
    scenes = compose(load("scenes", "train"), 80, seed=0, size=32)
    kinds = ["exist", "compare", "size-related"]
    first = ask(scenes, 60, seed=1, types=kinds)
    torch.manual_seed(5)
    again = ask(scenes, 60, seed=1, types=kinds)
    assert (again.texts, again.answers, again.programs) == (
        first.texts,
        first.answers,
        first.programs,
    )
    assert torch.equal(again.scenes, first.scenes)
    assert ask(scenes, 60, seed=2, types=kinds).texts != first.texts


def test_types_can_be_chosen(test):
    scenes, _ = test
    asked = ask(scenes, 31, seed=0, types=["exist", "size-related"])
    assert collections.Counter(asked.types) == {"exist": 16, "size-related": 15}
    assert repr(asked).startswith("Questions(31 questions of 2 types about ")


def test_too_few_scenes_are_reported_with_what_they_allow():
    scenes = compose(load("scenes", "train"), 20, seed=0, size=32)
    with pytest.raises(
        ValueError, match=r"asks for 500 questions of type count, .* allow only \d+"
    ):
        ask(scenes, 500, seed=0, types=["count"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"examples": -1}, "examples must be 0 or more, got -1"),
        ({"types": ["why"]}, "types must be among exist, count.*got 'why'"),
        ({"types": []}, r"types must be different names, at least one, got \[\]"),
        ({"types": ["size", "size"]}, "types must be different names"),
    ],
)
def test_bad_arguments_are_named(test, arguments, message):
    with pytest.raises(ValueError, match=message):
        ask(test[0], **{"examples": 1, "seed": 0} | arguments)


SCENE = Facts(
    categories=("cat", "cat", "hat"),
    colors=(None, "black", "red"),
    sizes=("large", "small", "small"),
    centers=((10.0, 10.0), (40.0, 12.0), (42.0, 50.0)),
    areas=(400, 100, 90),
    side=64,
)


def chain(*steps):
    """Build a program of single steps, each on the result of the last."""
    return tuple(
        Step(*step.split(), **({"inputs": (i - 1,)} if i else {})) for i, step in enumerate(steps)
    )


@pytest.mark.parametrize(
    ("program", "answer"),
    [
        (chain("scene", "filter cat", "count"), "2"),
        (chain("scene", "filter animal", "superlative largest", "query category"), "cat"),
        (chain("scene", "filter hat", "unique", "query color"), "red"),
        (chain("scene", "filter hat", "unique", "relate above", "count"), "2"),
        (chain("scene", "superlative lowest", "query size"), "small"),
    ],
)
def test_program_is_run_on_the_labels(program, answer):
    assert execute(program, SCENE) == answer


def test_trace_gives_the_objects_of_every_step():
    program = chain("scene", "filter hat", "unique", "relate above", "filter small", "exist")
    assert trace(program, SCENE) == [(0, 1, 2), (2,), (2,), (0, 1), (1,), "yes"]


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (chain("scene", "filter cat", "unique"), "exactly one such object, got 2"),
        (chain("scene", "filter fish", "unique"), "exactly one such object, got 0"),
        (chain("scene", "filter red"), "an object has no single color"),
        (chain("scene", "superlative smallest"), "two objects are nearly the smallest"),
        (chain("scene", "superlative rightmost"), "two objects are nearly the rightmost"),
        (chain("scene", "filter hat", "superlative largest"), "fewer than two objects"),
        (chain("scene", "filter hat", "unique", "relate left"), "neither clearly to the left of"),
        (chain("scene", "superlative largest", "query color"), "no single color"),
    ],
)
def test_ill_posed_question_says_why(program, reason):
    with pytest.raises(IllPosed, match=reason):
        trace(program, SCENE)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("guess", "function must be one that Step lists, got 'guess'"),
        ("filter dog", "filter must be a category, group, size or color, got 'dog'"),
        ("superlative best", "superlative must be one of largest, .*got 'best'"),
        ("relate behind", "relate must be one of left, right, above, below, got 'behind'"),
        ("query name", "query must be category, color or size, got 'name'"),
    ],
)
def test_unknown_functions_and_arguments_are_named(step, message):
    with pytest.raises(ValueError, match=message):
        trace(chain("scene", step), SCENE)


def test_sheet_shows_a_question_of_every_type():
    sheet = questions.draw("visual-questions")
    assert [axis.get_title().split()[0] for axis in sheet.axes[: len(TYPES)]] == list(TYPES)
    assert all("?\n" in axis.get_xlabel() for axis in sheet.axes[: len(TYPES)])
    with pytest.raises(ValueError, match="name must be visual-questions, got 'scenes'"):
        questions.draw("scenes")
