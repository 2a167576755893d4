"""Operators on tensors of strings, which are arrays of objects."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphopt.exec.kernels.backend import Backend
from graphopt.exec.kernels.registry import kernel

_CASES: dict[str, Callable[[str], str]] = {"NONE": str, "LOWER": str.lower, "UPPER": str.upper}


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
    if case_change_action not in _CASES:
        raise ValueError(f"there is no case_change_action '{case_change_action}'")
    change, fold = _CASES[case_change_action], _CASES["NONE" if is_case_sensitive else "LOWER"]
    stops = {fold(word) for word in stopwords}
    kept = [change(s) for s in _strings(x) if fold(s) not in stops] or [""]
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
    pool = _pool(tuple(pool_strings or pool_int64s), tuple(ngram_counts))
    tokens = np.array([pool.numbers.get(t, -1) for t in rows.reshape(-1).tolist()], np.int64).reshape(rows.shape)
    hits = []
    for n, vocabulary in enumerate(pool.vocabularies, 1):
        if vocabulary is not None and min_gram_length <= n <= max_gram_length:
            for step in range(1, max_skip_count + 2 if n > 1 else 2):
                places = rows.shape[1] - (n - 1) * step
                if places > 0:
                    row, gram = vocabulary.find([tokens[:, k * step : k * step + places] for k in range(n)])
                    hits.append(row * pool.size + gram)
    found = np.concatenate(hits) if hits else np.empty(0, np.int64)
    counts = np.bincount(found, minlength=len(rows) * pool.size).reshape(len(rows), pool.size).astype(np.float32)
    if mode == "IDF":
        counts = np.minimum(counts, 1)
    if mode != "TF" and len(weights):
        counts *= np.asarray(weights, np.float32)
    columns = np.asarray(ngram_indexes)
    if np.array_equal(np.sort(columns), np.arange(pool.size)):
        y = np.take(counts, np.argsort(columns), axis=1)
    else:
        y = np.zeros((len(rows), int(columns.max()) + 1), np.float32)
        np.add.at(y.T, columns, counts.T)
    return y[0] if x.ndim < 2 else y


@dataclass(frozen=True, slots=True)
class _Pool:
    """The n-grams that are counted.

    Attributes:
        numbers: those of the tokens.
        vocabularies: the 1-grams, 2-grams...; None where there are none.
        size: how many they are.
    """

    numbers: dict[Any, int]
    vocabularies: list[_Vocabulary | None]
    size: int


@functools.lru_cache(maxsize=16)  # it is a pure function, and takes longer than to count
def _pool(pool: tuple[Any, ...], starts: tuple[int, ...]) -> _Pool:
    """The pool as a list of tokens, in which the 1-grams, 2-grams... start somewhere each."""
    numbers = {token: i for i, token in enumerate(dict.fromkeys(pool))}
    tokens = np.array([numbers[t] for t in pool], np.int64)
    vocabularies: list[_Vocabulary | None] = []
    size = 0
    for n, (start, end) in enumerate(itertools.pairwise([*starts, len(pool)]), 1):
        grams = tokens[start:end].reshape(-1, n)
        vocabularies.append(_Vocabulary(grams, size) if len(grams) else None)
        size += len(grams)
    return _Pool(numbers, vocabularies, size)


class _Vocabulary:
    """Different n-grams of tokens that are numbers: [grams, n].

    Prefixes are numbered in order, anew with each token, so that the numbers stay small: prefix and token together are
    looked up among the few that there are.
    """

    def __init__(self, grams: np.ndarray, first: int) -> None:
        """Args:
        first: the number of the first one in the pool.
        """
        self.radix = int(grams.max()) + 2  # the last number stands for tokens that are in none of these
        self.levels = []
        numbers = np.zeros(len(grams), np.int64)
        for tokens in grams.T:
            prefixes, numbers = np.unique(numbers * self.radix + tokens, return_inverse=True)
            self.levels.append(prefixes)
        if len(prefixes) < len(grams):
            raise ValueError("an n-gram is in the pool twice")
        self.grams = first + np.argsort(numbers)

    def find(self, tokens: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """The rows in which n-grams were found, and which ones; for each of their tokens, what is there [rows, places]."""
        numbers = np.zeros(tokens[0].shape, np.int64)
        for here, prefixes in zip(tokens, self.levels):
            codes = numbers * self.radix + np.where((here < 0) | (here >= self.radix), self.radix - 1, here)
            place = np.minimum(np.searchsorted(prefixes, codes), len(prefixes) - 1)
            numbers = np.where((numbers >= 0) & (prefixes[place] == codes), place, -1)
        row, place = np.nonzero(numbers >= 0)
        return row, self.grams[numbers[row, place]]
