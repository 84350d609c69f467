"""Spell transcripts in the letters of a language, as a recognizer writes them."""

from __future__ import annotations

import re
import unicodedata

LATIN = "abcdefghijklmnopqrstuvwxyz"
# The apostrophe joins or shortens words in English, French and Italian only.
ALPHABETS = {
    "en": LATIN + "'",
    "fr": LATIN + "àâæçéèêëîïôœùûüÿ'",
    "es": LATIN + "áéíñóúü",
    "it": LATIN + "àèéìíîòóùú'",
    "ru": "абвгдеёжзийклмнопрстуфхцчшщъыьэюя",
}
DIGITS = {
    language: tuple(words.split())
    for language, words in {
        "en": "zero one two three four five six seven eight nine",
        "fr": "zéro un deux trois quatre cinq six sept huit neuf",
        "es": "cero uno dos tres cuatro cinco seis siete ocho nueve",
        "it": "zero uno due tre quattro cinque sei sette otto nove",  # codespell:ignore tre
        "ru": "ноль один два три четыре пять шесть семь восемь девять",
    }.items()
}
# What the speakers say for the written forms that are not letters. English prompts also hold
# "28.8 kilobit" and "dial 500"; those must stand before the digits, to be tried first.
SIGNS = {
    "en": {"28.8": "twenty eight point eight", "500": "five hundred", "*": "star", "#": "pound"},
    "fr": {"*": "étoile", "#": "dièse", "’": "'"},
    "es": {"*": "asterisco"},
    "it": {"*": "asterisco", "#": "cancelletto", "’": "'"},
    "ru": {"*": "звёздочка", "#": "решётка"},
}


def normalize_text(text: str, language: str = "en") -> str:
    """Spell a transcript in lower-case letters of the language and single spaces.

    Letters keep their accents. Digits are spelled one by one, and a few signs as the speakers of
    the telephone prompts name them; everything else becomes a space. `ALPHABETS` lists the letters;
    the apostrophe is one of them in English, French and Italian, inside words.

    Args:
        text: A transcript as published.
        language: "en", "fr", "es", "it" or "ru".

    Returns:
        What the speaker says.

    Raises:
        ValueError: The language is none of these.

    >>> normalize_text("Press 1, or # to re-record it; don't wait.")
    "press one or pound to re record it don't wait"
    >>> normalize_text("Composez votre numéro d'agent, puis le 2.", "fr")
    "composez votre numéro d'agent puis le deux"
    """
    if language not in ALPHABETS:
        raise ValueError(f"language must be one of {', '.join(ALPHABETS)}, got {language!r}")
    letters = ALPHABETS[language]
    if not letters.isascii():  # a letter with an accent may come as two characters
        text = unicodedata.normalize("NFC", text)
    spoken = {sign: word if word == "'" else f" {word} " for sign, word in SIGNS[language].items()}
    spoken |= {str(digit): f" {word} " for digit, word in enumerate(DIGITS[language])}
    written = "|".join(map(re.escape, spoken))
    text = re.sub(written, lambda match: spoken[match.group()], text.lower())
    words = re.sub(f"[^{letters} ]", " ", text).split()
    return " ".join(word for word in (word.strip("'") for word in words) if word)


def fold(text: str) -> str:
    """Take the accents off, so that spellings of one text that differ in them alone are equal.

    Args:
        text: For example ``нажмите решётку``.

    Returns:
        ``нажмите решетку``.
    """
    parts = unicodedata.normalize("NFD", text)
    return unicodedata.normalize("NFC", "".join(c for c in parts if not unicodedata.combining(c)))
