"""Formal languages: what is drawn against what belongs, found by walking through all strings."""

import itertools
import time

import pytest
import torch

from coursekit.data import tasks
from coursekit.data.tasks import LANGUAGES, is_member, strings

every = pytest.mark.parametrize("name", LANGUAGES)
COUNTED = ["anbn", "anb2n", "anbncn", "anbmcn+m"]
# Strings of sizes up to 3 (up to 4 for a sum), counted by hand.
MEMBERS = {
    "anbn": 3,
    "anb2n": 3,
    "anbncn": 3,
    "anbmcn+m": 1 + 2 + 3,
    "dyck-1": 1 + 2 + 5,
    "dyck-2": 2 + 8 + 40,
    "palindromes": 2 + 4 + 8,
}


def largest(name):
    return 4 if name == "anbmcn+m" else 3


def all_members(name):
    """List the members of sizes up to `largest` by testing every string of the alphabet."""
    longest = {"anbn": 6, "anb2n": 9, "anbncn": 9, "anbmcn+m": 8, "palindromes": 7}.get(name, 6)
    alphabet = LANGUAGES[name].alphabet
    words = (
        "".join(letters)
        for length in range(longest + 1)
        for letters in itertools.product(alphabet, repeat=length)
    )
    return {word for word in words if is_member(name, word)}


@every
def test_drawn_strings_are_exactly_the_members(name):
    members = all_members(name)
    assert len(members) == MEMBERS[name]
    data = strings(name, 3000, (LANGUAGES[name].least, largest(name)), seed=0)
    assert {data.text(i) for i in range(len(data))} == members


@every
def test_long_strings_belong_and_broken_ones_do_not(name):
    data = strings(name, 100, (20, 40), seed=1)
    for i in range(len(data)):
        text = data.text(i)
        assert is_member(name, text)
        assert not is_member(name, text[1:])
        assert not is_member(name, text[:-1])
        assert not is_member(name, text + text[-1])
        assert not is_member(name, text + ".")
        assert not is_member(name, text[len(text) // 2 :] + text[: len(text) // 2] + text[0])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("anbn", "abab"),
        ("anbn", "ba"),
        ("anb2n", "aabb"),
        ("anbncn", "aabbc"),
        ("anbncn", "abcabc"),
        ("anbmcn+m", "abc"),
        ("anbmcn+m", "aacc"),
        ("dyck-1", ")("),
        ("dyck-1", "[]"),
        ("dyck-2", "([)]"),
        ("palindromes", "ab#ab"),
        ("palindromes", "#"),
        ("palindromes", "a#a#a"),
        ("palindromes", "abba"),
    ],
)
def test_near_misses_do_not_belong(name, text):
    assert not is_member(name, text)


@every
def test_the_empty_string_does_not_belong(name):
    assert not is_member(name, "")


@pytest.mark.parametrize("name", [*COUNTED, "palindromes"])
def test_predictable_steps_are_those_with_one_continuation_in_the_language(name):
    least = LANGUAGES[name].least
    wide = strings(name, 6000, (least, 8), seed=0)
    known = {wide.text(i) + "." for i in range(len(wide))}
    following = {}
    for word in known:
        for cut in range(len(word)):
            following.setdefault(word[:cut], set()).add(word[cut])
    data = strings(name, 300, (least, 4), seed=1)  # their prefixes go on to larger members in known
    for i in range(len(data)):
        word = data.text(i) + "."
        choices = [len(following[word[:cut]]) == 1 for cut in range(len(word))]
        assert data.predictable[i, : len(word)].tolist() == choices


@pytest.mark.parametrize("name", ["dyck-1", "dyck-2"])
def test_closing_brackets_are_the_predictable_symbols(name):
    data = strings(name, 300, (1, 10), seed=0)
    for i in range(len(data)):
        word = data.text(i) + "."
        mask = data.predictable[i, : len(word)].tolist()
        assert mask == [symbol in ")]" for symbol in word]


@every
def test_inputs_are_the_targets_one_step_later(name):
    data = strings(name, 200, (2, 12), seed=0)
    for i, length in enumerate(data.lengths.tolist()):
        assert data.inputs[i, 0] == 0
        assert torch.equal(data.inputs[i, 1:length], data.targets[i, : length - 1])
        assert data.targets[i, length - 1] == 0
        assert not data.inputs[i, length:].any()
        assert (data.targets[i, length:] == tasks.IGNORE).all()
        assert not data.predictable[i, length:].any()
        assert 0 not in data.targets[i, : length - 1]
    assert data.targets.shape[1] == data.lengths.max()
    assert int(data.targets.max()) < len(data.alphabet)


@every
def test_ranges_of_sizes_apart_give_lengths_apart(name):
    train, test = strings(name, 500, (2, 19), seed=0), strings(name, 500, (20, 60), seed=0)
    assert int(train.lengths.max()) < int(test.lengths.min())


@every
def test_same_seed_same_bytes_and_another_seed_other_bytes(name):
    first, second, other = (strings(name, 100, (2, 30), seed=seed) for seed in (3, 3, 4))
    for field in ("inputs", "targets", "predictable", "lengths"):
        assert getattr(first, field).numpy().tobytes() == getattr(second, field).numpy().tobytes()
    assert first.inputs.numpy().tobytes() != other.inputs.numpy().tobytes()


@every
def test_ten_thousand_strings_take_less_than_a_second(name):
    start = time.process_time()
    strings(name, 10_000, seed=0)
    assert time.process_time() - start < 1


def test_balanced_strings_of_a_size_are_equally_likely():
    data = strings("dyck-1", 14_000, (4, 4), seed=0)
    counts = {}
    for i in range(len(data)):
        counts[data.text(i)] = counts.get(data.text(i), 0) + 1
    assert len(counts) == 14
    chi_squared = sum((count - 1000) ** 2 / 1000 for count in counts.values())
    assert chi_squared < 34.5  # 13 degrees of freedom, 0.1 %


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: strings("anbm", 1, seed=0), "language must be one of anbn, .*, got 'anbm'"),
        (lambda: is_member("anbm", "ab"), "language must be one of anbn, .*, got 'anbm'"),
        (lambda: strings("anbn", 0, seed=0), "examples must be at least 1, got 0"),
        (lambda: strings("anbn", 1, (0, 3), seed=0), "sizes must be"),
        (lambda: strings("anbmcn+m", 1, (1, 3), seed=0), r"sizes must be .* at least 2"),
    ],
)
def test_bad_arguments_are_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_repr_says_how_many_and_how_long():
    data = strings("anbn", 2, (3, 3), seed=0)
    assert repr(data) == "Strings(2 strings of anbn, 6 to 6 symbols)"
