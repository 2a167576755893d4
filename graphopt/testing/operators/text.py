"""Strings, and documents as counts of words."""

from __future__ import annotations

import numpy as np

from graphopt.testing.operators.elementwise import broadcasting
from graphopt.testing.operators.registry import operands
from graphopt.testing.operators.site import Site

_MAILS = ("a@b.c", "no mail", "", "x.y@z.org", "A@B.C", "a@b")


@operands("StringConcat", carries=(0, 1))
def string_concat(s: Site) -> None:
    broadcasting(s, [0, 1])


@operands("StringSplit")
def string_split(s: Site) -> None:
    s.operand(0, s.new_shape(0, 0, 3))
    s.text("delimiter", [" ", "", "e", "re"])
    if s.choices.integer(0, 1):
        s.parameter("maxsplit", lambda: s.choices.integer(1, 2))


@operands("RegexFullMatch", carries=(0,))
def regex_full_match(s: Site) -> None:
    shape = s.new_shape(0, 0, 3)
    words = [s.choices.one(_MAILS) for _ in range(int(np.prod(shape)))]
    s.operand(0, shape, array=np.array([*words, None], object)[:-1].reshape(shape))
    s.text("pattern", [r"[\w.]+@[\w.]+\.\w+", "a.*", ".*", "[^@]*"])


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
    text = s.dtype(0) == 8
    shape = s.choices.one([(6,), (2, 4)])
    numbers = np.random.default_rng(s.choices.integer(0, 999)).integers(1, 5, shape)
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
