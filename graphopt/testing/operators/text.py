"""Strings, and documents as counts of words."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from onnx import TensorProto

from graphopt.testing.operators.elementwise import broadcasting
from graphopt.testing.operators.registry import operands
from graphopt.testing.operators.site import Site


@operands("StringConcat", carries=(0, 1))
def string_concat(s: Site) -> None:
    broadcasting(s, [0, 1])


def _texts(s: Site, options: Sequence[str]) -> None:
    """The first operand: some of these."""
    shape = s.new_shape(0, 0, 3)
    texts = [s.choices.one(options) for _ in range(math.prod(shape))]
    s.operand(0, shape, array=np.array([*texts, None], object)[:-1].reshape(shape))


@operands("StringSplit")
def string_split(s: Site) -> None:
    _texts(s, ["b", "three words here", "Ünïcode", " a  b "])  # in how many parts nothing is cut, nobody says
    s.text("delimiter", [" ", "", "e", "re"])
    if s.choices.integer(0, 1):
        s.parameter("maxsplit", lambda: s.choices.integer(1, 2))


@operands("RegexFullMatch", carries=(0,))
def regex_full_match(s: Site) -> None:
    _texts(s, ["a@b.c", "no mail", "", "x.y@z.org", "A@B.C", "a@b"])
    options = [r"[\w.]+@[\w.]+\.\w+", "a.*", ".*", "[^@]*"]
    if s.text("pattern", options) is None:
        s.attributes["pattern"] = s.choices.one(options)  # no runtime is content without


@operands("StringNormalizer", ranks={0: (1, 2)})
def string_normalizer(s: Site) -> None:
    n = s.choices.integer(1, 4)
    s.operand(0, (1, n) if s.ranks(0)[0] == 2 or (s.ranks(0)[1] > 1 and s.choices.integer(0, 1)) else (n,))
    s.text("case_change_action", ["NONE", "LOWER", "UPPER"], "NONE")
    s.integer("is_case_sensitive", [0, 1], 0)
    if s.choices.integer(0, 1):
        s.parameter("stopwords", lambda: s.choices.one([["a"], ["A", "b"], ["three words here"]]))


@operands("TfIdfVectorizer", ranks={0: (1, 2)})
def tf_idf(s: Site) -> None:
    """Over the vocabulary 1, 2, 3; (1, 2), (2, 3)."""
    text = s.dtype(0) == TensorProto.STRING
    shape = s.choices.one([(6,), (2, 4)])
    numbers = s.random().integers(1, 5, shape)
    s.operand(0, shape, array=np.vectorize(str, otypes=[object])(numbers) if text else numbers)
    vocabulary = [1, 2, 3, 1, 2, 2, 3]
    least = s.choices.integer(1, 2)
    s.attributes.update(
        mode=s.choices.one(["TF", "IDF", "TFIDF"]),
        min_gram_length=least,
        max_gram_length=s.choices.integer(least, 2),
        max_skip_count=s.choices.integer(0, 1),
        ngram_counts=[0, 3],
        ngram_indexes=list(range(5)),
        weights=[0.5, 1.0, 2.0, 1.5, 0.25],
        **{"pool_strings": [str(k) for k in vocabulary]} if text else {"pool_int64s": vocabulary},
    )
