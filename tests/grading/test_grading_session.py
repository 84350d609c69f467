"""Points, hidden checks, known mistakes, the words that are shown and the hooks of the tools."""

import json
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell

from coursekit.grading import check
from coursekit.grading.backend import Failure, Local, Outcome
from coursekit.grading.messages import MIME, Message

INPUT = torch.tensor([[11.25, 22.5], [33.75, 45.125]])


def right(image, ignored=None):
    return image.T


def wrong(image):
    return image.flip(0)


def untouched(image):
    raise NotImplementedError


@pytest.fixture(autouse=True)
def session():
    yield check.reset()
    check.reset()


def passing():
    check.equal(right, [(INPUT,)], right)


def failing():
    check.equal(wrong, [(INPUT,)], right)


# Points


def test_points_are_the_passed_share(session, capsys):
    check.task("transpose", points=3)
    passing()
    failing()
    passing()
    assert check.points() == 2.0
    assert capsys.readouterr().out.endswith(
        "transpose: 2 of 3 points, 2 of 3 public checks passed\n"
    )
    (result,) = session.results
    assert (result.task, result.hidden, result.points, result.earned) == ("transpose", False, 3, 2)
    assert [text.split(":")[0] for text in result.messages] == ["passed", "failed", "passed"]


def test_full_points_claim_no_more_than_the_checks(capsys):
    check.task("transpose", points=2)
    passing()
    earned = check.points()
    assert type(earned) is float
    out = capsys.readouterr().out
    assert out.endswith("transpose: 2 of 2 points, public checks passed\n")
    assert "correct" not in out


def test_an_untouched_answer_earns_nothing():
    check.task("transpose", points=2)
    check.close(untouched, [(INPUT,)], right)
    check.raises(untouched, [(INPUT,)], Exception)
    check.unchanged(untouched, [(INPUT,)])
    check.gradient(untouched, [(INPUT,)])
    check.score(untouched, [(INPUT,)], lambda *_: 1.0, 0.5, says="the score")
    check.value(..., 3)
    assert check.points() == 0.0


def test_hidden_tests_that_are_absent_decide_later(session, capsys):
    check.task("transpose", points=3, hidden=True)
    assert check.points() is None
    assert capsys.readouterr().out == (
        "These 3 points are decided by hidden tests when the exercise is graded.\n"
    )
    check.task("transpose", points=1, hidden=True)
    check.points()
    assert capsys.readouterr().out.startswith("This point is decided")
    assert session.results == []


def test_a_cell_that_runs_again_replaces_its_result(session):
    for checks in ((failing,), (passing,)):
        check.task("transpose", points=2)
        checks[0]()
        check.points()
    check.task("transpose", points=3, hidden=True)
    passing()
    check.points()
    assert [(r.hidden, r.earned) for r in session.results] == [(False, 2.0), (True, 3.0)]
    check.task("transpose", points=2)
    assert [r.hidden for r in session.results] == [True]


# Hidden checks


def leaving(image, secret):
    raise ValueError(f"{secret} {image.tolist()}")


class Telling(LookupError):
    pass


Telling.__name__ = "Saw33_75"


def telling(image, secret):
    raise Telling(secret)


HIDDEN_FAILURES = [
    (lambda: check.close(wrong, [(INPUT,)], right, about="square"), "the values differ"),
    (lambda: check.close(lambda x: x[0], [(INPUT,)], right), "the shape differs"),
    (lambda: check.close(lambda x: x / 0 * 0, [(INPUT,)], right), "contains NaN"),
    (lambda: check.close(lambda x: None, [(INPUT,)], right), "None was returned"),
    (lambda: check.close(lambda x: (x, x), [(INPUT,)], right), "the structure"),
    (lambda: check.close(lambda x: x.T.long(), [(INPUT,)], right), "the kind of number"),
    (lambda: check.close(lambda x: object(), [(INPUT,)], right), "not plain data"),
    (lambda: check.equal(lambda x: x, [("secret",)], str.upper), "the values differ"),
    (lambda: check.close(leaving, [(INPUT, "secret")], right), "was raised (ValueError)"),
    (lambda: check.close(telling, [(INPUT, "secret")], right), "was raised (LookupError)"),
    (lambda: check.raises(right, [(INPUT,)], ValueError), "no exception was raised"),
    (lambda: check.raises(leaving, [(INPUT, "secret")], KeyError), "another exception"),
    (lambda: check.unchanged(lambda x: x.add_(1), [(INPUT,)]), "modified in place"),
    (lambda: check.holds(wrong, [(INPUT,)], lambda *_: False, "secret"), "the property"),
    (lambda: check.gradient(wrong, [(INPUT,)], reference=right), "the gradient differs"),
    (lambda: check.gradient(lambda x: x.detach(), [(INPUT,)]), "no gradient flows back"),
    (lambda: check.value(11.25, 22.5, about="the rate"), "the rate: hidden check"),
    (
        lambda: check.score(right, [(INPUT,)], lambda *_: 11.25, 22.5, says="secret"),
        "the score is too low",
    ),
    (lambda: check.close(untouched, [(INPUT,)], right), "not answered yet"),
]


@pytest.mark.parametrize(("run", "reason"), HIDDEN_FAILURES)
def test_hidden_checks_name_the_kind_of_failure_and_nothing_else(run, reason, monkeypatch):
    shown = []
    monkeypatch.setattr(Message, "show", lambda self: shown.append(self._repr_mimebundle_()))
    check.task("transpose", points=2, hidden=True)
    run()
    assert check.points() == 0.0
    text = json.dumps([shown, [vars(r) for r in check.session.results]], default=repr)
    assert reason in shown[0]["text/plain"]
    for leak in ("11.25", "22.5", "33.75", "33_75", "45.125", "secret", "SECRET", "KeyError"):
        assert leak not in text
    for leak in ("(2, 2)", "[2, 2]", "float32", "tensor"):
        assert leak not in text


def test_hidden_checks_say_what_they_are_about_and_public_ones_too():
    def messages(hidden):
        check.task("transpose", points=2, hidden=hidden)
        check.close(wrong, [(INPUT,)], right, about="square images")
        check.close(right, [(INPUT,)], right, about="square images")
        check.points()
        return check.session.results[-1].messages

    assert messages(hidden=True) == [
        "failed: wrong: hidden check (square images): the values differ",
        "passed: right: hidden check (square images)",
    ]
    assert messages(hidden=False)[0].startswith("failed: wrong (square images): the values differ")


def test_hidden_checks_swallow_what_the_function_prints(capsys):
    def printing(image):
        print("seen", image.tolist())
        print("seen", image.tolist(), file=sys.stderr)
        return image.T

    check.task("transpose", points=2, hidden=True)
    check.close(printing, [(INPUT,)], right)
    check.points()
    out, errors = capsys.readouterr()
    assert "seen" not in out + errors


def test_nothing_reaches_stderr(capsys, recwarn):
    def noisy(image):
        torch.from_numpy(np.broadcast_to(np.ones(2), (2, 2)))  # warns: not writable
        print("for debugging", image.shape)
        print("for debugging", file=sys.stderr)
        return image.T

    check.task("transpose", points=2)
    check.close(noisy, [(INPUT,)], noisy)
    check.points()
    out, errors = capsys.readouterr()
    assert "for debugging torch.Size([2, 2])" in out
    assert errors == "for debugging\n"  # the reference's, which is the author's to mend
    assert not recwarn


# Known mistakes


def recorded(session, mistakes, side="public"):
    """Note what functions return on the two public checks as known mistakes."""
    listed = []
    for name, fn in mistakes.items():
        outputs = [[], []]
        for index, image in ((0, INPUT), (1, INPUT[:1])):
            outputs[index].append(json.loads(json.dumps(check.encode(fn(image)))))
        listed.append({"id": name, "explanation": f"This is {name}.", side: outputs})
    session.known = {"tasks": {"transpose": {"mistakes": listed}}}


def explanations(fn, hidden=False):
    check.task("transpose", points=2, hidden=hidden)
    check.close(fn, [(INPUT,)], right)
    check.close(fn, [(INPUT[:1],)], right)
    check.points()
    return check.session.results[-1].explanations


def test_a_known_mistake_is_named_by_its_own_explanation(session, capsys):
    recorded(session, {"flip": wrong, "double": lambda x: 2 * x.T})
    assert explanations(lambda x: x.double().flip(0)) == ["This is flip."]
    assert "A known mistake returns the same: This is flip.\n" in capsys.readouterr().out
    assert explanations(lambda x: x.T + x.T) == ["This is double."]


def test_right_answers_and_other_mistakes_are_not_named(session):
    recorded(session, {"flip": wrong, "double": lambda x: 2 * x.T, "late": right})
    assert explanations(right) == []
    assert explanations(untouched) == []
    assert explanations(lambda x: x + 1) == []
    assert explanations(lambda x: right(x) if len(x) > 1 else x + 1) == []


def test_a_mistake_is_recognized_on_the_first_case_that_fails(session):
    recorded(session, {"flip": wrong, "double": lambda x: 2 * x.T})
    assert explanations(lambda x: x.flip(0) if len(x) > 1 else 7 * x) == ["This is flip."]


def test_two_mistakes_that_look_alike_are_not_named(session):
    recorded(session, {"flip": wrong, "reverse": wrong})
    assert explanations(wrong) == []


def test_two_mistakes_alike_on_the_first_failing_case_are_told_apart_by_the_others(session):
    recorded(session, {"flip": wrong, "partial": lambda x: wrong(x) if len(x) > 1 else x * 3})
    assert explanations(wrong) == ["This is flip."]


def test_hidden_checks_name_mistakes_only_from_hidden_records(session):
    recorded(session, {"flip": wrong})
    assert explanations(wrong, hidden=True) == []
    recorded(session, {"flip": wrong}, side="hidden")
    assert explanations(wrong, hidden=True) == ["This is flip."]
    assert explanations(wrong) == []


def test_an_exercise_loads_its_known_mistakes(session, tmp_path, monkeypatch):
    known = tmp_path / "known" / "6-special" / "01-spatial-transformer.json"
    known.parent.mkdir(parents=True)
    known.write_text('{"tasks": {}}')
    monkeypatch.setattr("coursekit.grading.session.files", lambda package: tmp_path)
    check.exercise("6-special/01-spatial-transformer")
    assert session.known == {"tasks": {}}
    check.exercise("6-special/99-nothing")
    assert session.known == {}


def test_an_exercise_keeps_mistakes_that_a_tool_has_set(session):
    session.known = {"tasks": {"mine": {}}}
    check.exercise("6-special/99-nothing")
    assert session.known == {"tasks": {"mine": {}}}


@pytest.mark.parametrize("name", ["bilinear", "../x", "a/b/c", "/etc/x", ""])
def test_an_exercise_is_named_by_part_and_name(name):
    with pytest.raises(ValueError, match="part/exercise"):
        check.exercise(name)


# Encodings


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        2**80,
        2.5,
        float("nan"),
        "text",
        [1, 2.0, "a"],
        (torch.arange(6).view(2, 3), {"a": np.ones(2), 3: None}),
        torch.tensor([torch.inf, -torch.inf, torch.nan, 1.0]),
        torch.tensor([1 + 2j]),
        torch.randn(40, 40),
        torch.zeros(0, 3),
        list(range(1000)),
    ],
)
def test_encodings_survive_json_and_equal_themselves(value):
    encoded = check.encode(value)
    strict = json.loads(json.dumps(encoded, allow_nan=False))
    assert check.same(strict, encoded)
    assert len(json.dumps(encoded)) < 20_000


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (torch.ones(3), np.ones(3) * (1 + 1e-6)),
        (1.0, torch.tensor(1.0)),
        ([1, 2], (1, 2)),
        (torch.tensor([1.0, 0.0]), torch.tensor([1.0, 1e-8])),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ],
)
def test_encodings_of_the_same_meaning_are_the_same(a, b):
    assert check.same(check.encode(a), check.encode(b))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (torch.ones(3), torch.ones(3, 1)),
        (torch.ones(3), torch.ones(3).int()),
        (1.0, 1.001),
        (1, 2),
        (10_000_000, 10_000_001),
        (float("nan"), float("inf")),
        (True, 1),
        (None, 0),
        ("a", "b"),
        ([1, 2], [1, 2, 3]),
        (list(range(1000)), list(range(1001))),
        ({"a": 1}, {"b": 1}),
        (torch.tensor([1e-8]), torch.tensor([2e-8])),
    ],
)
def test_encodings_of_different_values_differ(a, b):
    assert not check.same(check.encode(a), check.encode(b))


def test_errors_are_the_same_as_themselves_only():
    assert check.same({"error": "ValueError"}, {"error": "ValueError"})
    assert not check.same({"error": "ValueError"}, {"error": "TypeError"})
    assert not check.same({"error": "ValueError"}, check.encode(1))


# The hooks of the tools


def test_the_observer_sees_every_case_of_every_check(session):
    seen = []
    session.observer = lambda *event: seen.append(event)
    check.task("transpose", points=2)
    check.close(right, [(INPUT,), (INPUT[:1],)], right)
    check.equal(untouched, [(INPUT,)], right)
    check.unchanged(right, [(INPUT,)])
    check.raises(leaving, [(INPUT, "a")], ValueError)
    check.value(3, 3)
    check.points()
    assert [event[:4] for event in seen] == [
        ("transpose", False, call, case)
        for call, case in ((0, 0), (0, 1), (1, 0), (2, 0), (3, 0), (4, 0))
    ]
    assert seen[1][4] == check.encode(INPUT[:1].T)
    assert seen[2][4] == {"error": "NotImplementedError"}
    assert seen[3][4] == check.encode([INPUT])
    assert seen[4][4] == {"error": "ValueError"}
    assert seen[5][4] == check.encode(3)


FUNCTIONS = {"right": right}


class Elsewhere(Local):
    """A backend for functions that are known by name only."""

    def name(self, fn):
        return fn

    def inputs(self, fn):
        return super().inputs(FUNCTIONS[fn])

    def call(self, fn, args, after=False):
        return super().call(FUNCTIONS[fn], args, after)

    def gradient(self, fn, args, wrt, weights):
        return super().gradient(FUNCTIONS[fn], args, wrt, weights)

    def data(self, value):
        return Outcome({"rate": 0.1}[value])


def test_every_touch_of_a_learners_name_goes_through_the_backend(session):
    session.backend = Elsewhere()
    check.task("transpose", points=7)
    case = [(INPUT,)]
    check.close("right", case, right)
    check.equal("right", case, right)
    check.holds("right", case, lambda output, x: len(output) == 2, "two rows")
    check.gradient("right", case)
    check.unchanged("right", case)
    check.score("right", case, lambda output, x: 1.0, 0.5, says="the score")
    check.value("rate", 0.1)
    assert check.points() == 7.0


@pytest.mark.parametrize("author", [lambda x, rate: 0.0, lambda *case: 0.0, lambda x, *_: 0.0])
def test_inputs_have_the_names_of_the_author_or_else_of_the_function(session, author):
    def step(x, rate):
        return x

    check.task("transpose", points=1)
    check.equal(step, [(2.0, 0.5)], author)
    check.points()
    assert "    x         2\n    rate      0.5\n" in session.results[0].messages[0]


def test_inputs_of_a_driver_have_its_names_past_the_object(session):
    def drive(step, rate, x):
        return step(x, rate)

    check.task("transpose", points=1)
    check.equal(check.through(lambda x, rate: x, drive), [(0.5, 2.0)], lambda *case: 0.0)
    check.points()
    assert "    rate      0.5\n    x         2\n" in session.results[0].messages[0]


def test_inputs_of_what_is_no_function_are_numbered(session):
    class Step:
        def __call__(self, x, rate):
            return x

    check.task("transpose", points=1)
    check.equal(Step(), [(2.0, 0.5)], lambda *case: 0.0)
    check.points()
    assert "input 1   2" in session.results[0].messages[0]


def test_a_reset_forgets_everything(session):
    check.task("transpose", points=2)
    passing()
    check.points()
    new = check.reset()
    assert new is check.session is not session
    assert (new.results, new.known, new.observer) == ([], {}, None)


def test_outcomes_of_another_process_need_no_exception_object(session):
    class Remote(Local):
        def call(self, fn, args, after=False):
            return Outcome(error=Failure("ValueError", ("ValueError", "Exception"), "too short"))

    session.backend = Remote()
    check.task("transpose", points=2)
    check.close(right, [(INPUT,)], right)
    check.raises(right, [(INPUT,)], ValueError)
    assert check.points() == 1.0
    assert "ValueError: too short" in session.results[0].messages[0]


# How a message is shown


MESSAGE = Message("failed", "f <b>", "close", (("got", "1 & 2\n3"), ("expected", "2")), {"a": 1})


def test_the_plain_text_is_aligned():
    assert repr(MESSAGE) == ("failed: f <b>\n    got       1 & 2\n              3\n    expected  2")


def test_notebooks_get_text_html_and_data():
    bundle, _ = InteractiveShell().display_formatter.format(MESSAGE)
    assert bundle["text/plain"] == repr(MESSAGE)
    assert bundle[MIME]["facts"] == [["got", "1 & 2\n3"], ["expected", "2"]]
    assert bundle[MIME]["status"] == "failed"
    assert bundle[MIME]["a"] == 1
    json.dumps(bundle)


def test_html_is_escaped_balanced_and_leaves_colors_to_the_page():
    class Reader(HTMLParser):
        def __init__(self):
            super().__init__()
            self.open, self.text, self.styles = [], "", []

        def handle_starttag(self, tag, attrs):
            self.open.append(tag)
            self.styles.append(dict(attrs).get("style", ""))

        def handle_endtag(self, tag):
            assert self.open.pop() == tag

        def handle_data(self, data):
            self.text += data

    reader = Reader()
    reader.feed(MESSAGE._repr_html_())
    assert reader.open == []
    assert "failed: f <b>" in reader.text
    assert "1 & 2\n3" in reader.text
    for style in reader.styles:
        assert "background: #" not in style
        assert " color: #" not in style


def test_the_same_check_says_the_same_every_time():
    def texts():
        check.task("transpose", points=2)
        check.close(lambda x: lambda: 1, [(INPUT,)], right)
        check.close(leaving, [(INPUT, "a")], right)
        check.gradient(lambda x: x.sin(), [(INPUT,)], reference=torch.cos)
        check.points()
        return check.session.results[-1].messages

    first = texts()
    assert first == texts()
    assert "0x" not in "".join(first)


def test_the_room_itself_imports_without_torch():
    code = "import sys, coursekit.grading; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"
