"""Pages show the package's own source, and sound that needs no network."""

import base64
import io
import re

import pytest
import soundfile
import torch

from coursekit.pages import audio_player, show_source, without_docstrings

SOURCE = '''
class Box:
    """Hold a number."""

    def __init__(self, number):
        self.number = number  # kept

    def double(self):
        """Return twice the number.

        Returns:
            The number.
        """
        return f"""{2 * self.number}"""
'''.strip()


def test_source_is_shown_as_it_stands_in_the_package():
    shown = show_source(audio_player).data
    assert shown.startswith("```python\ndef audio_player(")
    assert '"""Put a recording into the page itself' in shown
    assert '"""Put a recording' not in show_source(audio_player, docstrings=False).data


def test_methods_are_shown_without_their_indent():
    assert show_source(Holder.value).data.startswith("```python\ndef value(self)")


def test_leaving_out_docstrings_leaves_every_other_line():
    short = without_docstrings(SOURCE)
    remaining = iter(SOURCE.splitlines())
    assert all(line in remaining for line in short.splitlines())
    assert "Hold a number" not in short
    assert "Returns:" not in short
    assert 'f"""{2 * self.number}"""' in short
    names = {}
    exec(short, names)
    assert names["Box"](2).double() == "4"


def test_a_body_that_is_only_a_docstring_keeps_it():
    assert without_docstrings('def f():\n    """Do nothing."""') == (
        'def f():\n    """Do nothing."""'
    )


def test_the_player_holds_the_samples_and_escapes_its_label():
    samples = torch.tensor([0.0, 0.5, -0.5, 0.25])
    player = audio_player(samples, 8000, 'she says "five" & waits').data
    data = re.search(r"base64,([^\"]+)", player)[1]
    read, rate = soundfile.read(io.BytesIO(base64.b64decode(data)))
    assert rate == 8000
    assert torch.allclose(torch.tensor(read, dtype=torch.float32), samples, atol=1e-4)
    assert 'aria-label="she says &quot;five&quot; &amp; waits"' in player
    assert "http" not in player


def test_the_player_refuses_two_channels():
    with pytest.raises(ValueError, match=r"shape \(samples,\), got \(2, 4\)"):
        audio_player(torch.zeros(2, 4), 8000, "silence")


class Holder:
    def value(self):
        return 1
