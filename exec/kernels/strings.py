"""Operators on tensors of strings, which are arrays of objects."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

import numpy as np

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.registry import kernel


def _strings(x: np.ndarray) -> list[str]:
    """The elements of a tensor in order."""
    return np.asarray(x, dtype=object).reshape(-1).tolist()


def _tensor(strings: Sequence[str], shape: Sequence[int]) -> np.ndarray:
    y = np.empty(len(strings), object)
    y[:] = strings
    return y.reshape(shape)


@kernel("StringConcat", since=20, on_host=True)
def string_concat(xp: Backend, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Strings put together, the inputs broadcast."""
    return np.asarray(np.asarray(x, object) + np.asarray(y, object), object)


@kernel("StringNormalizer", since=10, on_host=True)
def string_normalizer(
    xp: Backend,
    x: np.ndarray,
    *,
    case_change_action: str = "NONE",
    is_case_sensitive: int = 0,
    locale: str = "",
    stopwords: Sequence[str] = (),
) -> np.ndarray:
    """[C] or [1, C] without stop words, in capitals or small letters. Nothing but stop words leaves one empty string.

    The locale is left aside: what Unicode says of letters holds everywhere but for a few in Turkish and Lithuanian.
    """
    if x.ndim not in (1, 2) or (x.ndim == 2 and len(x) != 1):
        raise ValueError(f"strings must have shape [C] or [1, C], not {list(x.shape)}")
    changes = {"NONE": str, "LOWER": str.lower, "UPPER": str.upper}
    if case_change_action not in changes:
        raise ValueError(f"there is no case_change_action '{case_change_action}'")
    fold = str if is_case_sensitive else str.lower
    stops = {fold(word) for word in stopwords}
    kept = [changes[case_change_action](s) for s in _strings(x) if fold(s) not in stops] or [""]
    return _tensor(kept, (1, len(kept))[2 - x.ndim :])


@kernel("StringSplit", since=20, on_host=True)
def string_split(
    xp: Backend, x: np.ndarray, *, delimiter: str = "", maxsplit: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The parts of each string, filled up with empty ones to as many as the one with the most has, and their numbers."""
    most = -1 if maxsplit is None else maxsplit
    parts = [s.split(delimiter, most) if delimiter else s.strip().split(None, most) for s in _strings(x)]
    counts = np.array([len(p) for p in parts], np.int64)
    width = int(counts.max(initial=0))
    filled = [p + [""] * (width - len(p)) for p in parts]
    return _tensor([*itertools.chain.from_iterable(filled)], (*x.shape, width)), counts.reshape(x.shape)


@kernel("RegexFullMatch", since=20, on_host=True)
def regex_full_match(xp: Backend, x: np.ndarray, *, pattern: str = "") -> np.ndarray:
    """Whether strings match a pattern from end to end."""
    try:
        match = re.compile(pattern).fullmatch
    except re.error as e:
        raise ValueError(f"'{pattern}' is no regular expression: {e}") from e
    return np.array([match(s) is not None for s in _strings(x)], bool).reshape(x.shape)


@kernel("TfIdfVectorizer", since=9, on_host=True)
def tf_idf_vectorizer(
    xp: Backend,
    x: np.ndarray,
    *,
    max_gram_length: int,
    max_skip_count: int,
    min_gram_length: int,
    mode: str,
    ngram_counts: Sequence[int],
    ngram_indexes: Sequence[int],
    pool_int64s: Sequence[int] = (),
    pool_strings: Sequence[str] = (),
    weights: Sequence[float] = (),
) -> np.ndarray:
    """Counts of n-grams: sequences of n tokens, with the same number of tokens left out between each and the next.

    The pool is a list of all 1-grams, then of all 2-grams... that are counted; `ngram_counts` says where each list
    starts. The i-th of all n-grams is counted in column `ngram_indexes[i]`, with a weight of `weights[i]`.
    """
    if mode not in ("TF", "IDF", "TFIDF"):
        raise ValueError(f"there is no mode '{mode}'")
    rows = x.reshape(1, -1) if x.ndim < 2 else x
    numbers = {token: i for i, token in enumerate(dict.fromkeys(pool_strings or pool_int64s))}
    tokens = np.array([numbers.get(t, -1) for t in rows.reshape(-1).tolist()], np.int64).reshape(rows.shape)
    pool = np.array([numbers[t] for t in pool_strings or pool_int64s], np.int64)
    counts = np.zeros((len(rows), len(ngram_indexes)), np.int64)
    first = 0  # the number of the first n-gram of this length
    for n, (start, end) in enumerate(itertools.pairwise([*ngram_counts, len(pool)]), 1):
        grams = pool[start:end].reshape(-1, n)
        if len(grams) and min_gram_length <= n <= max_gram_length:
            vocabulary = _Vocabulary(grams)
            for step in range(1, max_skip_count + 2 if n > 1 else 2):
                places = rows.shape[1] - (n - 1) * step
                if places > 0:
                    found = [tokens[:, k * step : k * step + places] for k in range(n)]
                    counts[:, first : first + len(grams)] += vocabulary.count(found)
        first += len(grams)
    if mode == "IDF":
        counts = np.minimum(counts, 1)
    weighted = counts if mode == "TF" or not len(weights) else counts * np.asarray(weights, np.float32)
    columns = np.asarray(ngram_indexes)
    y = np.zeros((len(rows), int(columns.max()) + 1), np.float32)
    if len(set(ngram_indexes)) == len(ngram_indexes):
        y[:, columns] = weighted
    else:
        np.add.at(y, (slice(None), columns), weighted.astype(np.float32))
    return y[0] if x.ndim < 2 else y


class _Vocabulary:
    """Some n-grams of tokens that are numbers, [grams, n].

    Prefixes are numbered in order, anew with each token, so that the numbers stay small: prefix and token together are
    looked up among the few that there are.
    """

    def __init__(self, grams: np.ndarray) -> None:
        self.radix = int(grams.max()) + 2  # the last number stands for tokens that are in none of these
        self.levels = []
        self.numbers = np.zeros(len(grams), np.int64)
        for tokens in grams.T:
            prefixes, self.numbers = np.unique(self.numbers * self.radix + tokens, return_inverse=True)
            self.levels.append(prefixes)

    def count(self, tokens: Sequence[np.ndarray]) -> np.ndarray:
        """How often each occurs in each row; for each of its tokens, those found there [rows, places]."""
        rows = len(tokens[0])
        numbers = np.zeros(tokens[0].shape, np.int64)
        for here, prefixes in zip(tokens, self.levels):
            codes = numbers * self.radix + np.where((here < 0) | (here >= self.radix), self.radix - 1, here)
            place = np.minimum(np.searchsorted(prefixes, codes), len(prefixes) - 1)
            numbers = np.where((numbers >= 0) & (prefixes[place] == codes), place, -1)
        row, place = np.nonzero(numbers >= 0)
        size = len(self.levels[-1])
        times = np.bincount(row * size + numbers[row, place], minlength=rows * size).reshape(rows, size)
        return times[:, self.numbers]
