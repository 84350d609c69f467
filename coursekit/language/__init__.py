"""Models of text."""

from coursekit.language.ngrams import CharacterNgram

__all__ = ["CharacterNgram"]
