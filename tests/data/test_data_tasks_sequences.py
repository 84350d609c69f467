"""Sequence tasks: each target is worked out again from the inputs alone, in plain Python."""

import time

import numpy as np
import pytest
import torch

from coursekit.data import tasks

DRAWS = {
    "copy": lambda n, seed: tasks.copy(n, seed=seed),
    "repeat-copy": lambda n, seed: tasks.repeat_copy(n, seed=seed),
    "associative-recall": lambda n, seed: tasks.associative_recall(n, seed=seed),
    "priority-sort": lambda n, seed: tasks.priority_sort(n, seed=seed),
    "adding": lambda n, seed: tasks.adding(n, 50, seed=seed),
    "parity": lambda n, seed: tasks.parity(n, seed=seed),
    "addition": lambda n, seed: tasks.addition(n, seed=seed),
    "memorization": lambda n, seed: tasks.memorization(n, (1, 20), seed=seed),
}
FIELDS = ("inputs", "targets", "mask", "lengths")
every = pytest.mark.parametrize("name", DRAWS)


def examples(data):
    """Give inputs, targets and mask of each example, cut to its length, as lists."""
    for i, length in enumerate(data.lengths.tolist()):
        yield tuple(getattr(data, field)[i, :length].tolist() for field in FIELDS[:3])


def asked(targets, mask):
    return [target for target, counts in zip(targets, mask, strict=True) if counts]


@every
def test_same_seed_same_bytes_and_another_seed_other_bytes(name):
    first, second, other = (DRAWS[name](50, seed) for seed in (3, 3, 4))
    for field in FIELDS:
        assert getattr(first, field).numpy().tobytes() == getattr(second, field).numpy().tobytes()
    assert first.inputs.numpy().tobytes() != other.inputs.numpy().tobytes()


@every
def test_generator_leaves_the_global_state_alone(name):
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    DRAWS[name](5, 0)
    assert (np.random.get_state()[1] == before[0]).all()  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[1])


@every
def test_padding_is_silent_and_not_asked(name):
    data = DRAWS[name](200, 0)
    behind = torch.arange(data.mask.shape[1]) >= data.lengths[:, None]
    assert not data.mask[behind].any()
    assert not data.inputs[behind].any()
    nothing = 0 if data.targets.is_floating_point() else -100
    assert (data.targets[~data.mask] == nothing).all()
    assert data.mask[torch.arange(200), data.lengths - 1].all()
    assert data.mask.shape[1] == data.lengths.max()


@every
def test_dtypes_are_those_of_the_docstring(name):
    data = DRAWS[name](3, 0)
    floating = data.inputs.ndim == 3
    assert data.inputs.dtype == (torch.float32 if floating else torch.int64)
    assert data.targets.dtype == (torch.float32 if floating else torch.int64)
    assert (data.mask.dtype, data.lengths.dtype) == (torch.bool, torch.int64)


@every
def test_ten_thousand_examples_take_less_than_a_second(name):
    DRAWS[name](10, 0)
    start = time.process_time()
    assert len(DRAWS[name](10_000, 0)) == 10_000
    assert time.process_time() - start < 1


def test_copy_asks_for_the_vectors_before_the_delimiter():
    data = tasks.copy(200, (1, 20), bits=8, seed=0)
    seen = set()
    for inputs, targets, mask in examples(data):
        length = [step[8] for step in inputs].index(1)
        seen.add(length)
        assert len(inputs) == 2 * length + 1
        assert asked(targets, mask) == [step[:8] for step in inputs[:length]]
        assert not any(map(any, inputs[length + 1 :]))
    assert seen == set(range(1, 21))
    assert data.inputs[..., :8].sum() / (200 * 10.5 * 8) == pytest.approx(0.5, abs=0.05)


def test_repeat_copy_repeats_as_often_as_the_scaled_number_says():
    data = tasks.repeat_copy(300, seed=0)
    seen = set()
    for inputs, targets, mask in examples(data):
        length = [step[8] for step in inputs].index(1)
        repeats = round(inputs[length][9] * 8.25**0.5 + 5.5)
        vectors = [[*step[:8], 0] for step in inputs[:length]]
        assert asked(targets, mask) == vectors * repeats + [[0] * 8 + [1]]
        assert not any(map(any, inputs[length + 1 :]))
        seen.add(repeats)
    assert seen == set(range(1, 11))


def test_numbers_of_repeats_have_mean_0_and_variance_1_over_the_paper_s_range():
    data = tasks.repeat_copy(20_000, (1, 1), seed=0)
    numbers = data.inputs[:, 1, 9]
    assert numbers.mean() == pytest.approx(0, abs=0.03)
    assert numbers.var() == pytest.approx(1, abs=0.03)


def test_associative_recall_asks_for_the_item_after_the_query():
    data = tasks.associative_recall(300, seed=0)
    counts, queries = set(), set()
    for inputs, targets, mask in examples(data):
        starts = [t for t, step in enumerate(inputs) if step[6]]
        items = [[step[:6] for step in inputs[t + 1 : t + 4]] for t in starts]
        opening, closing = (t for t, step in enumerate(inputs) if step[7])
        query = [step[:6] for step in inputs[opening + 1 : closing]]
        assert items.count(query) == 1
        assert asked(targets, mask) == items[items.index(query) + 1]
        assert mask == [t > closing for t in range(len(mask))]
        counts.add(len(items))
        queries.add(items.index(query))
    assert counts == {2, 3, 4, 5, 6}
    assert queries == {0, 1, 2, 3, 4}


def test_associative_recall_draws_again_where_items_are_equal():
    data = tasks.associative_recall(500, (4, 4), item_length=1, bits=4, seed=0)
    for inputs, _, _ in examples(data):
        items = [tuple(inputs[t + 1][:4]) for t, step in enumerate(inputs) if step[4]]
        assert len(set(items)) == 4


def test_priority_sort_asks_for_the_highest_priorities_first():
    data = tasks.priority_sort(200, seed=0)
    assert data.inputs.shape == (200, 37, 10)
    for inputs, targets, mask in examples(data):
        ordered = sorted(inputs[:20], key=lambda step: -step[8])
        assert asked(targets, mask) == [step[:8] for step in ordered[:16]]
        assert [t for t, step in enumerate(inputs) if step[9]] == [20]


def test_adding_asks_for_the_scaled_sum_of_the_marked_numbers():
    data = tasks.adding(2000, 60, seed=0)
    rare, latest = 0, 0
    for inputs, targets, mask in examples(data):
        marked = [t for t, (_, marker) in enumerate(inputs) if marker == 1]
        assert len(marked) == 2
        assert marked[0] < 10
        assert marked[1] < 60 // 2
        latest = max(latest, marked[1])
        assert inputs[-1][1] == -1
        assert inputs[0][1] == (1 if marked[0] == 0 else -1)
        if marked[0] == 0:
            rare += 1
            assert inputs[0][0] == 0
        total = sum(inputs[t][0] for t in marked)
        assert targets[-1][0] == pytest.approx(0.5 + total / 4, abs=1e-6)
        assert mask == [False] * (len(mask) - 1) + [True]
    assert 150 < rare < 350
    assert latest == 60 // 2 - 1  # of those left, one of the first ten stands before it
    assert set(data.lengths.tolist()) == set(range(60, 67))


def test_always_answering_one_half_has_the_stated_error_on_adding():
    data = tasks.adding(50_000, 24, seed=0)
    last = data.targets[torch.arange(50_000), data.lengths - 1, 0]
    error = float(((last - 0.5) ** 2).mean())
    assert 0.037 < error < 1 / 24


def test_parity_is_that_of_the_ones_so_far():
    for inputs, targets, mask in examples(tasks.parity(300, seed=0)):
        assert targets == [sum(inputs[: t + 1]) % 2 for t in range(len(inputs))]
        assert all(mask)


def test_addition_writes_the_sum_of_the_numbers_read():
    sizes = set()
    for inputs, targets, mask in examples(tasks.addition(1000, (1, 15), seed=0)):
        text = "".join("-0123456789"[symbol] for symbol in inputs)
        answer = "".join("-0123456789"[symbol] for symbol in asked(targets, mask))
        blank, first, second, rest = text.split("-", 3)
        assert blank == ""
        assert set(rest) == {"-"}
        assert len(rest) == len(answer)
        assert answer == f"{int(first) + int(second)}-"
        for number in (first, second):
            assert number == str(int(number))
            sizes.add(len(number))
    assert sizes == set(range(1, 16))


def test_sums_of_the_largest_numbers_are_exact():
    for inputs, targets, mask in examples(tasks.addition(500, (17, 17), seed=0)):
        text = "".join("-0123456789"[symbol] for symbol in inputs)
        answer = "".join("-0123456789"[symbol] for symbol in asked(targets, mask))
        assert answer == f"{sum(int(number) for number in text.split('-') if number)}-"


def test_memorization_asks_for_the_string_in_the_same_order():
    data = tasks.memorization(300, (1, 20), symbols=64, seed=0)
    for inputs, targets, mask in examples(data):
        string = inputs[1 : inputs.index(0, 1)]
        assert len(inputs) == 2 * len(string) + 3
        assert asked(targets, mask) == [*string, 0]
    assert int(data.inputs.max()) == 64


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tasks.copy(0, seed=0), "examples must be at least 1, got 0"),
        (lambda: tasks.copy(1, (0, 5), seed=0), r"lengths must be .* at least 1, got \(0, 5\)"),
        (lambda: tasks.copy(1, (6, 5), seed=0), r"lengths must be .*, got \(6, 5\)"),
        (lambda: tasks.copy(1, bits=0, seed=0), "bits must be at least 1, got 0"),
        (lambda: tasks.repeat_copy(1, repeats=(0, 1), seed=0), "repeats must be"),
        (lambda: tasks.associative_recall(1, (1, 3), seed=0), "items must be"),
        (lambda: tasks.associative_recall(1, item_length=0, seed=0), "item_length must be"),
        (lambda: tasks.associative_recall(1, item_length=1, bits=3, seed=0), "6 distinct items"),
        (lambda: tasks.priority_sort(1, 4, 5, seed=0), "kept must be within 1 and length=4, got 5"),
        (lambda: tasks.adding(1, 23, seed=0), "lag must be at least 24, got 23"),
        (lambda: tasks.parity(1, (0, 1), seed=0), "lengths must be"),
        (lambda: tasks.addition(1, (1, 18), seed=0), r"digits must be .* within 1 and 17"),
        (lambda: tasks.memorization(1, symbols=1, seed=0), "symbols must be at least 2, got 1"),
    ],
)
def test_bad_arguments_are_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()
