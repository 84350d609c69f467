"""From sound to text: features, connectionist temporal classification, error rates."""

from coursekit.speech.ctc import (
    Hypothesis,
    Lattice,
    collapse,
    ctc_loss,
    extend,
    forward_backward,
    greedy_decode,
    minimum_frames,
    prefix_beam_search,
)
from coursekit.speech.features import (
    frame_signal,
    hertz_to_mel,
    log_mel,
    mel_filterbank,
    mel_to_hertz,
    normalize,
    power_spectrogram,
    stack_frames,
)
from coursekit.speech.metrics import ErrorRate, edit_distance, error_rate, word_error_rate

__all__ = [
    "ErrorRate",
    "Hypothesis",
    "Lattice",
    "collapse",
    "ctc_loss",
    "edit_distance",
    "error_rate",
    "extend",
    "forward_backward",
    "frame_signal",
    "greedy_decode",
    "hertz_to_mel",
    "log_mel",
    "mel_filterbank",
    "mel_to_hertz",
    "minimum_frames",
    "normalize",
    "power_spectrogram",
    "prefix_beam_search",
    "stack_frames",
    "word_error_rate",
]
