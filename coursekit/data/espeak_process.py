"""Say one text by the library espeak-ng and write the samples; run by `coursekit.data.spoken`.

A program of its own, ``python espeak_process.py LIBRARY DATA VOICE RATE PITCH``, which reads the
text from standard input and writes the sampling rate (4 bytes) and the samples (int16), both in
the order of bytes of the machine; ``python espeak_process.py LIBRARY DATA`` prints the version.
One process says one text, from a fixed seed: the library keeps the state of its sources of noise
and of its oscillators between texts and otherwise seeds them by the clock, and the same text would
not give the same samples a second time. The
program imports the standard library only, so that a process starts in a hundredth of a second.
"""

import ctypes
import sys

SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS: espeak_Synth returns when all samples are made
RATE, PITCH = 1, 3  # espeakRATE, espeakPITCH
UTF8 = 1  # espeakCHARS_UTF8
SEED = 1


def main(arguments: list[str]) -> int:
    """Say the text of standard input, or print the version.

    Args:
        arguments: Library, data, and unless the version is asked for voice, rate and pitch.

    Returns:
        The exit code: 0, or 1 after a message on standard error.
    """
    library = ctypes.CDLL(arguments[0])
    chunks: list[bytes] = []

    def collect(samples: int | None, count: int, events: int | None) -> int:
        if samples and count > 0:
            chunks.append(ctypes.string_at(samples, 2 * count))
        return 0

    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
    callback = kind(collect)
    sample_rate = library.espeak_Initialize(SYNCHRONOUS, 0, arguments[1].encode(), 0)
    if sample_rate <= 0:
        print(f"the data of espeak-ng in {arguments[1]} cannot be read", file=sys.stderr)
        return 1
    if len(arguments) == 2:
        library.espeak_Info.restype = ctypes.c_char_p
        print(library.espeak_Info(None).decode())
        return 0
    library.espeak_SetSynthCallback(callback)
    if library.espeak_SetVoiceByName(arguments[2].encode()):
        print(f"espeak-ng has no voice {arguments[2]!r}", file=sys.stderr)
        return 1
    library.espeak_SetParameter(RATE, int(arguments[3]), 0)
    library.espeak_SetParameter(PITCH, int(arguments[4]), 0)
    if hasattr(library, "espeak_ng_SetRandSeed"):  # since 1.52, which seeds by the clock
        library.espeak_ng_SetRandSeed(ctypes.c_long(SEED))
    text = sys.stdin.buffer.read()
    size = ctypes.c_size_t(len(text) + 1)
    if library.espeak_Synth(text, size, 0, 0, 0, UTF8, None, None):
        print("espeak-ng cannot say the text", file=sys.stderr)
        return 1
    library.espeak_Synchronize()
    sys.stdout.buffer.write(sample_rate.to_bytes(4, sys.byteorder) + b"".join(chunks))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
