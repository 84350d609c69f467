"""Each check passes what is right, and says what is wrong with what is not."""

import random
import re

import numpy as np
import pytest
import torch

from coursekit.grading import check
from coursekit.grading.values import described, plain

ROWS = torch.tensor([[1.0, 2.0, 4.0], [3.0, 3.5, 4.0]])
DOUBLES = ROWS.double()


def softmax(x):
    return x.softmax(dim=-1)


def cell(*checks, hidden=False, task="softmax", points=4):
    """Run checks as one check cell; return its result."""
    check.task(task, points=points, hidden=hidden)
    for run in checks:
        run()
    check.points()
    return check.session.results[-1]


def said(run, hidden=False):
    """Run one check; return the text of its message."""
    return cell(run, hidden=hidden).messages[0]


def close(got, reference=softmax, case=(ROWS,), **options):
    """Check a function that returns `got` if that is no function itself."""
    fn = got if callable(got) else lambda *_: got
    return lambda: check.close(fn, [case], reference, **options)


@pytest.fixture(autouse=True)
def _new_session():
    check.reset()
    yield
    check.reset()


# What agrees


@pytest.mark.parametrize(
    "answer",
    [
        softmax,
        lambda x: x.double().softmax(-1),
        lambda x: x.softmax(-1).numpy(),
        lambda x: x.requires_grad_().softmax(-1),
        lambda x: torch.nn.Parameter(x.softmax(-1)),
        lambda x: torch.stack([row.exp() / row.exp().sum() for row in x]),
        lambda x: x.softmax(-1).to_sparse(),
    ],
)
def test_every_right_answer_is_close(answer):
    assert said(close(answer)) == "passed: answer agrees with the reference on 1 case".replace(
        "answer", "softmax" if answer is softmax else "the function"
    )


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        (0.5, torch.tensor(0.5)),
        (torch.tensor(0.5), 0.5),
        (np.float64(0.5), 0.5),
        (np.array(0.5), 0.5),
        (0, 0.0),
        (True, torch.tensor(True)),
        (np.int64(3), 3),
        (torch.tensor([1, 2], dtype=torch.int32), torch.tensor([1, 2])),
        ([torch.tensor(1.0), "a", None], (1.0, "a", None)),
        ({"loss": 1.0, "name": "a"}, {"name": "a", "loss": 1.0}),
        (torch.zeros(0, 3), np.zeros((0, 3))),
        (torch.tensor([torch.nan, torch.inf, 1.0]), torch.tensor([torch.nan, torch.inf, 1.0])),
        (torch.tensor([1.0]).bfloat16(), torch.tensor([1.0])),
        (torch.zeros(2, 3).size(), (2, 3)),
        (torch.tensor([3.0, 1.0]).sort(), (torch.tensor([1.0, 3.0]), torch.tensor([1, 0]))),
        (2**80, 2**80),
        (None, None),
    ],
)
def test_values_of_different_types_that_mean_the_same_agree(got, expected):
    assert said(close(got, lambda x: expected)).startswith("passed")


def test_tolerance_follows_the_format_of_the_expected_value():
    nearly = DOUBLES * (1 + 1e-6)
    assert said(close(nearly, lambda x: ROWS)).startswith("passed")
    assert said(close(nearly, lambda x: DOUBLES)).startswith("failed")
    assert said(close(nearly, lambda x: DOUBLES, rtol=1e-5)).startswith("passed")
    assert said(close(1.0 + 1e-6, lambda x: 1.0)).startswith("passed")


def test_equal_is_exact_and_takes_a_list_for_a_tuple():
    def equal(got, expected):
        return said(lambda: check.equal(lambda x: got, [(1,)], lambda x: expected))

    assert equal([1, 2], (1, 2)) == "passed: the function equals the reference on 1 case"
    assert equal("ab", "ab").startswith("passed")
    assert "result[1]: expected 3, got 2" in equal([1, 2], [1, 3])
    assert "got       1.0000001" in equal(1.0000001, 1.0)
    assert "kind of number differs" in equal(1.0, 1)
    assert "kind of number differs" in equal(True, 1)
    assert "first differing character at 2" in equal("abc", "abd")
    assert "the int 2" in equal(2, "2")


# What differs, and how it is said


def test_different_values_are_located_and_counted():
    text = said(close(lambda x: x.softmax(0)))
    assert text.startswith("failed: the function: the values differ\n")
    assert "    x         tensor float32 (2, 3)\n              [[1, 2, 4],\n" in text
    assert re.search(r"where +result\[0, 0\]: expected 0.0420\d*, got 0.1192\d* ", text)
    assert "(6 of 6 values differ)" in text


def test_values_that_differ_late_are_told_apart_by_more_digits():
    text = said(close(torch.tensor([1.0]).double() + 1e-6, lambda x: torch.ones(1).double()))
    assert "result[0]: expected 1, got 1.000001" in text


def test_a_missing_return_is_named():
    text = said(close(lambda x: None))
    assert "None was returned" in text
    assert "did you forget to return?" in text


def test_shape_shows_both_shapes():
    text = said(close(lambda x: x.softmax(-1).sum(-1)))
    assert "the shape differs" in text
    assert "expected  shape (2, 3)" in text
    assert "got       shape (2,)" in text


@pytest.mark.parametrize("got", [ROWS.long(), ROWS > 2, ROWS.cfloat()])
def test_kind_of_number_must_agree(got):
    assert "the kind of number differs" in said(close(got))


def test_structure_shows_lengths_and_place():
    text = said(close((ROWS, 1.0, 2), lambda x: (ROWS, 1.0)))
    assert "the structure of the result differs" in text
    assert "a tuple of 2" in text
    assert "a tuple of 3" in text
    assert "where     result[0]" in said(close(([ROWS], 1), lambda x: (ROWS, 1)))
    assert "a list of 2: [1, 2.5]" in said(close([1.0, 2.5], lambda x: torch.tensor([1, 2.5])))
    assert "structure" in said(close({"a": 1}, lambda x: {"b": 1}))


def test_nan_and_infinity_are_named():
    holed = torch.tensor([1.0, torch.nan])
    text = said(close(holed, lambda x: torch.ones(2)))
    assert "the result contains NaN" in text
    assert "result[1]: expected 1, got nan (1 of 2 values differ)" in text
    assert "infinite" in said(close(holed * torch.inf, lambda x: torch.tensor([1.0, torch.nan])))
    assert "the values differ" in said(close(torch.ones(1), lambda x: torch.tensor([torch.inf])))
    assert "the values differ" in said(close(torch.ones(2), lambda x: holed))


def test_lost_precision_names_both_formats():
    text = said(close(lambda x: x.float().softmax(-1), case=(DOUBLES,)))
    assert "the result is less precise than expected" in text
    assert "expected float64, got float32" in text


def test_a_numberless_shape_compares_by_shape_alone():
    assert said(close(torch.zeros(3, 0), lambda x: torch.zeros(0, 3))).count("shape (") == 2


def test_unanswered_is_no_fault():
    def bilinear(x):
        raise NotImplementedError

    assert said(close(bilinear)) == "failed: bilinear: not answered yet"


def test_an_exception_shows_type_text_and_the_learners_line():
    def bilinear(x):
        return x @ x

    text = said(close(bilinear))
    assert "an exception was raised" in text
    assert "got    RuntimeError: mat1 and mat2 shapes cannot be multiplied" in text
    assert re.search(r"where  bilinear, line \d+: return x @ x$", text)


def test_an_exception_inside_a_library_shows_the_line_that_called_it():
    def outer(x):
        return torch.nn.functional.one_hot(x, 3)

    assert "outer, line" in said(close(outer))


def test_addresses_and_endless_texts_of_exceptions_are_cut():
    def bilinear(x):
        raise ValueError(f"{object()} {'a' * 1000}")

    text = said(close(bilinear))
    assert "ValueError: <object object> aaa" in text
    assert "0x" not in text
    assert len(text) < 700


def test_exceptions_that_resist_are_reported_all_the_same():
    class Silent(Exception):
        def __str__(self):
            raise RuntimeError

    def silent(x):
        raise Silent

    def leaving(x):
        raise SystemExit(3)

    assert "Silent: (its text cannot be shown)" in said(close(silent))
    assert "SystemExit: 3" in said(close(leaving))


class Disguise(type):
    @property
    def __name__(cls):
        raise RuntimeError

    @property
    def __mro__(cls):
        raise RuntimeError


class Disguised(Exception, metaclass=Disguise):
    pass


def test_classes_that_lie_about_themselves_are_named_all_the_same():
    def raising(x):
        raise Disguised("\x1b[31mpassed\nred")

    assert "Disguised: ?[31mpassed red" in said(close(raising))
    assert "a Disguised" in said(close(Disguised()))


def test_something_that_is_no_function_fails():
    assert "the NoneType" in said(lambda: check.close(None, [(ROWS,)], softmax))


def test_the_first_failing_case_is_named():
    def halved(x):
        return x / 2 if x > 1 else x

    text = said(lambda: check.close(halved, [(1.0,), (2.0,), (3.0,)], lambda length: length))
    assert text.startswith("failed: halved, case 2 of 3: the values differ")
    assert "length    2" in text


def test_large_inputs_are_shown_by_their_first_values():
    text = said(close(lambda x: x + 1, lambda x: x, case=(torch.arange(100.0),)))
    assert "tensor float32 (100,), first values 0, 1, 2, 3, …" in text
    assert len(text) < 600


# Forged results


class Agreeable:
    def __eq__(self, other):
        return True

    __hash__ = None


class Lying(torch.Tensor):
    @property
    def shape(self):
        return torch.Size((2, 3))

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return torch.tensor(True)


class Wide(np.ndarray):
    def __array__(self, *args, **kwargs):
        return np.ones(3)


class Five(int):
    def __eq__(self, other):
        return True

    __hash__ = int.__hash__


class Pair(tuple):
    def __len__(self):
        return 2


@pytest.mark.parametrize(
    ("forged", "named"),
    [
        (Agreeable(), "an Agreeable"),
        (torch.zeros(1).as_subclass(Lying), "a Lying, a subclass of Tensor"),
        (np.zeros(1).view(Wide), "a Wide, a subclass of ndarray"),
        (Five(4), "a Five, a subclass of int"),
        (Pair((1, 2, 3)), "a Pair, a subclass of tuple"),
        ([1, Five(2)], "the result[1] is a Five"),
        ({"a": Agreeable()}, "the result['a'] is an Agreeable"),
        (np.array([Agreeable()]), "an array of dtype object"),
        (np.ma.masked_array([1.0], [True]), "a MaskedArray"),
        ((i for i in range(3)), "a generator"),
        (torch.zeros(2, device="meta"), "meta tensor"),
    ],
)
def test_anything_but_plain_data_is_refused_by_name(forged, named):
    text = said(lambda: check.close(lambda x: forged, [(1,)], lambda x: 5))
    assert "the result is not plain data" in text
    assert named in text
    assert "0x" not in text


@pytest.mark.parametrize(
    ("odd", "says"),
    [
        (10**400, "an int that is too long"),
        ([{"a": (10**5000,)}], "an int that is too long"),
        ({10**400: 1}, "an int that is too long"),
        ({10**5000: 1}, "cannot be read: Exceeds the limit"),
        (torch.zeros([1] * 65), "cannot be read: number of dimensions"),
    ],
    ids=["int", "longer int", "key", "longer key", "axes"],
)
def test_plain_data_that_nothing_can_be_compared_with_is_refused(odd, says):
    for run in (close(lambda x: odd), lambda: check.raises(lambda x: odd, [(1,)], ValueError)):
        assert "failed" in said(run)
    assert says in said(close(lambda x: odd))


def test_methods_set_on_a_tensor_are_never_called():
    def forging(x):
        result = torch.zeros(3)
        result.detach = result.cpu = result.numpy = lambda: torch.ones(3)
        return result

    assert "expected 1, got 0" in said(close(forging, lambda x: torch.ones(3)))


def test_a_list_within_itself_is_refused():
    endless = []
    endless.append(endless)
    assert "not plain data" in said(close(endless))


# The other checks


def test_a_property_that_holds_and_one_that_does_not():
    def sums(answer, says="every row sums to 1"):
        def condition(output, x):
            return torch.allclose(output.sum(-1), torch.ones(len(x)))

        return said(lambda: check.holds(answer, [(ROWS,), (ROWS,)], condition, says))

    assert sums(softmax) == "passed: softmax: every row sums to 1 (2 cases)"
    assert sums(lambda x: x.softmax(-1).numpy()).startswith("passed")
    text = sums(lambda x: x.softmax(0))
    assert "case 1 of 2: the property does not hold" in text
    assert "expected  every row sums to 1" in text
    assert "cannot be judged" in sums(lambda x: 3)
    assert "not answered yet" in sums(untouched)


def untouched(*_):
    raise NotImplementedError


def test_raises_wants_that_exception_and_an_answer():
    def refusing(x):
        raise FileNotFoundError("no such clip")

    def raised(fn, error):
        return said(lambda: check.raises(fn, [(ROWS,)], error))

    assert raised(refusing, OSError) == "passed: refusing raises OSError on 1 case"
    assert raised(refusing, (OSError, ValueError)).startswith("passed")
    text = raised(refusing, ValueError)
    assert "another exception was raised" in text
    assert "FileNotFoundError: no such clip" in text
    assert "no exception was raised" in raised(softmax, ValueError)
    assert "no exception was raised" in raised(lambda x: Agreeable(), ValueError)
    assert "not answered yet" in raised(untouched, Exception)


@pytest.mark.parametrize(
    ("spoiling", "case"),
    [
        (lambda x: x.mul_(2), (ROWS,)),
        (lambda x: x.t_(), (ROWS,)),
        (lambda x: x.add_(0.0), (-torch.zeros(3),)),
        (lambda x: x.sort(), ([3, 1],)),
        (lambda x: x.update(a=Agreeable()), ({"a": 1},)),
        (lambda x: x.__setitem__(0, 0), (np.ones(3),)),
        (lambda x: x[0].add_(1), ((ROWS,),)),
    ],
)
def test_an_argument_modified_in_place_is_noticed(spoiling, case):
    before = repr(case)
    text = said(lambda: check.unchanged(spoiling, [case]))
    assert "an argument was modified in place" in text
    assert repr(case) == before


def test_unchanged_shows_what_the_argument_became():
    text = said(lambda: check.unchanged(lambda x, y: y.append(3), [(ROWS, [1, 2])]))
    assert "argument  number 2" in text
    assert "before    [1, 2]" in text
    assert "after     [1, 2, 3]" in text
    assert said(lambda: check.unchanged(softmax, [(ROWS,), (DOUBLES,)])) == (
        "passed: softmax leaves its arguments unchanged on 2 cases"
    )


def test_cases_survive_whatever_the_learner_does():
    image = ROWS.clone()
    said(close(lambda x: x.zero_(), case=(image,)))
    assert torch.equal(image, ROWS)


def test_value_of_a_variable():
    assert said(lambda: check.value(0.25, 0.25)) == (
        "passed: the value agrees with what is expected"
    )
    text = said(lambda: check.value(0.5, 0.25, about="the error rate"))
    assert text == (
        "failed: the error rate: the values differ\n    expected  0.25\n    got       0.5"
    )
    assert "not answered yet" in said(lambda: check.value(..., 3))
    assert "not answered yet" in said(lambda: check.value(None, 3))
    assert "not plain data" in said(lambda: check.value(Agreeable(), 3))


def test_score_says_what_was_reached_and_what_is_needed():
    labels = torch.tensor([0, 1, 1, 0])

    def accuracy(output, x):
        return (output == labels).float().mean()

    def scored(answer):
        says = "the accuracy"
        return said(lambda: check.score(answer, [(labels,)], accuracy, 0.8, says=says))

    assert scored(lambda x: x).startswith("passed: the function: the accuracy is at least 0.8")
    text = scored(lambda x: torch.tensor([0, 1, 1, 1]))
    assert "the score is too low" in text
    assert "needed   0.8" in text
    assert "reached  0.75" in text
    assert "cannot be computed" in scored(lambda x: "guess")
    assert "reached  nan" in said(
        lambda: check.score(softmax, [(ROWS,)], lambda *_: float("nan"), 0.8, says="the score")
    )


# Gradients


class Halved(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    def backward(ctx, slope):
        return slope * ctx.saved_tensors[0]


def test_gradients_agree_with_finite_differences_and_with_a_reference():
    def scaled(x, y):
        return {"sum": (x * y).sum(), "rows": x.softmax(-1)}

    case = (ROWS, torch.rand(3))
    text = said(lambda: check.gradient(scaled, [case], wrt=(0, 1)))
    assert text == "passed: the gradient of scaled agrees with finite differences on 1 case"
    text = said(lambda: check.gradient(scaled, [case], wrt=(0, 1), reference=scaled))
    assert text == "passed: the gradient of scaled agrees with the reference's on 1 case"


def gradient(fn, **options):
    return said(lambda: check.gradient(fn, [(ROWS,)], **options))


@pytest.mark.parametrize("reference", [None, lambda x: x**2])
def test_a_wrong_backward_pass_is_caught(reference):
    text = gradient(Halved.apply, reference=reference)
    assert "the gradient differs" in text
    assert "gradient  with respect to argument 1" in text
    assert "where     gradient[0, 0]: expected" in text


@pytest.mark.parametrize("reference", [None, lambda x: x**2])
@pytest.mark.parametrize(
    "cut",
    [
        lambda x: x.detach() ** 2,
        lambda x: x.detach().requires_grad_() ** 2,
        lambda x: torch.no_grad()(torch.square)(x),
        lambda x: x.detach().numpy() ** 2,
    ],
)
def test_a_cut_graph_is_named(cut, reference):
    text = gradient(cut, reference=reference)
    assert "no gradient flows back to an input" in text
    assert "something cuts the graph" in text


def test_a_gradient_check_still_sees_shape_precision_and_exceptions():
    assert "the shape differs" in gradient(lambda x: x.sum(), reference=lambda x: x)
    assert "less precise" in gradient(lambda x: x.float() ** 2)
    assert "an exception" in gradient(lambda x: x @ x)
    assert "not answered yet" in gradient(untouched)
    assert "leaf Variable" in gradient(lambda x: x.mul_(2), reference=lambda x: 2 * x)


def test_a_dependence_that_should_not_be_there_is_caught():
    def leaking(x, mask):
        return (x * 2).sum() + mask.sum()

    text = said(
        lambda: check.gradient(
            leaking, [(ROWS, ROWS)], wrt=(0, 1), reference=lambda x, mask: (x * 2).sum()
        )
    )
    assert "with respect to argument 2" in text
    assert "expected  zero" in text


# Randomness


def test_seeds_make_a_random_function_comparable():
    def noisy(x):
        noise = torch.rand(2) + torch.from_numpy(np.random.rand(2))  # noqa: NPY002
        return x + noise + random.random()

    case = (torch.zeros(2).double(),)
    cell(
        lambda: check.close(noisy, [case, case], lambda x: noisy(x)),
        lambda: check.equal(noisy, [case], noisy),
    )
    assert check.session.results[-1].earned == 4


def test_checks_leave_the_generators_where_they_were():
    torch.manual_seed(3)
    random.seed(3)
    untouched_draws = torch.rand(1), random.random()
    torch.manual_seed(3)
    random.seed(3)
    said(close(lambda x: torch.rand(2, 3), lambda x: torch.rand(2, 3)))
    assert (torch.rand(1), random.random()) == untouched_draws


# Faults of the author's are raised


def test_a_reference_that_raises_is_the_authors_fault():
    with pytest.raises(ZeroDivisionError):
        said(close(softmax, lambda x: 1 / 0))


@pytest.mark.parametrize("cases", [[], [ROWS], (ROWS,), ROWS, [(len,)]])
def test_cases_must_be_tuples_of_plain_data(cases):
    with pytest.raises(TypeError):
        said(lambda: check.close(softmax, cases, softmax))


def test_gradients_are_with_respect_to_floating_tensors_that_matter():
    with pytest.raises(TypeError, match="argument 0 in wrt must be a floating tensor"):
        said(lambda: check.gradient(softmax, [(ROWS.long(),)]))
    with pytest.raises(ValueError, match="must depend"):
        gradient(softmax, reference=lambda x: torch.zeros(2, 3))


def test_checks_stand_between_task_and_points():
    with pytest.raises(RuntimeError, match=r"check\.task"):
        check.value(1, 1)
    with pytest.raises(RuntimeError, match=r"check\.task"):
        check.points()
    check.task("softmax", points=2)
    with pytest.raises(RuntimeError, match="no check ran for task 'softmax'"):
        check.points()
    with pytest.raises(ValueError, match="points must be positive"):
        check.task("softmax", points=0)


def test_what_nests_widely_is_described_in_few_words():
    def nested(depth: int) -> list:
        return [nested(depth - 1) for _ in range(8)] if depth else [torch.ones(6, 6)]

    text = described(plain(nested(5)))
    assert len(text) < 20_000
    assert "…" in text
