"""Models of text, and how good their texts are."""

from coursekit.language.bleu import BLEU, bleu_counts, corpus_bleu, sentence_bleu
from coursekit.language.ngrams import CharacterNgram
from coursekit.language.perplexity import Perplexity, perplexity

__all__ = [
    "BLEU",
    "CharacterNgram",
    "Perplexity",
    "bleu_counts",
    "corpus_bleu",
    "perplexity",
    "sentence_bleu",
]
