"""Every attack of the catalog is graded beside honest learners, as root and as nobody.

One batch is run for each user. Nothing of it may differ for the neighbors, nothing that is hidden
may come out, nothing may be left, and each attacker gets the points that the code really earns.
"""

import json
import os
import re
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import pytest
from arena import LIMIT, NOBODY, Listener, Result, fight, learner_of, words_of
from catalog import ATTACKS, PRELUDE, Kit
from filelock import FileLock

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="official grading needs Linux"),
]
MODES = ("root", "nobody")


@pytest.fixture(scope="module", params=MODES)
def result(request, tmp_path_factory):
    """Fight once for each user, whatever number of workers asks for the result."""
    mode = request.param
    if os.geteuid() and mode == "root":
        pytest.skip("the tests do not run as root")
    folder = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        folder = folder.parent
    path = folder / f"attacks-{mode}.json"
    with FileLock(f"{path}.lock"):
        if not path.exists():
            user = NOBODY if mode == "nobody" and not os.geteuid() else 0
            path.write_text(json.dumps(asdict(fight(user))))
    return Result(**json.loads(path.read_text()))


def rows_of(result, learner):
    """Return the rows that count for a learner: those of the exercise, or the only one there is."""
    rows = [grade for grade in result.grades if grade["learner"] == learner]
    return [row for row in rows if row["exercise"] == "9-trial/01-layers"] or rows


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_an_attack_earns_what_its_code_is_worth(result, attack):
    (row,) = rows_of(result, learner_of(attack))
    words = words_of(row)
    assert row["score"] == attack.honest, words
    assert row["status"] in ("graded", "refused"), words
    assert row["score"] or row["reason"]
    assert re.search(attack.shows, words), words
    assert "TOOK" not in words
    assert attack.name not in result.words
    assert not [word for word in result.heard if attack.name in word]


def test_every_attack_has_a_name_of_its_own_and_says_what_it_tries():
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS) >= 60
    assert all(attack.tries for attack in ATTACKS)


def test_a_success_would_be_noticed():
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        with Listener(f"{folder}/listener") as listener:
            kit = Kit(Path(), {}, {"drop": folder, "port": listener.port}, "trial")
            space = {}
            exec(kit.filled(PRELUDE), space)
            with pytest.raises(space["Tried"], match="TRIED trial: "):
                space["tell"]()
            space["search"]("here", "HIDDEN" + "-0123456789ab")
            with pytest.raises(space["Tried"], match="TOOK trial: here"):
                space["tell"]()
        assert "HIDDEN" in Path(folder, "trial").read_text()
        assert listener.heard[0].startswith("trial here")


def test_neighbors_are_graded_as_without_attackers(result):
    def rows(grades):
        chosen = [grade for grade in grades if grade["learner"].startswith("~")]
        return [{k: v for k, v in grade.items() if k != "seconds"} for grade in chosen]

    assert rows(result.grades) == rows(result.calm)
    assert [row["score"] for row in rows(result.calm)] == [10.0, 20.0, 0.0]
    assert any(
        result.neighbors["~right"] in text for text in rows(result.calm)[1]["answers"].values()
    )


def test_the_batch_ends_in_time_and_well(result):
    assert result.report["code"] == 0, result.output
    assert result.report["seconds"] < LIMIT


def test_no_process_and_no_file_is_left(result):
    assert result.report["left"] == []
    assert result.remains == []


def test_nothing_hidden_comes_out(result):
    assert result.leaks == []


def test_nothing_outside_is_changed_and_nobody_is_called(result):
    assert result.changed == []
    assert result.words == {}
    assert result.heard == []


def test_pages_and_tables_are_harmless(result):
    assert result.unsafe == []
