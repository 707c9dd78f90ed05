"""How much a sentence says of what a session was about: TF-IDF over its sentences, in numpy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float32]
MAX_TERMS = 4000
"""Terms kept; of a long session those that stand in the most sentences, so that three hours fit in 60 MB."""


def tfidf(documents: Sequence[Sequence[str]]) -> Matrix:
    """Unit-length rows, one a document: log term count times smoothed inverse document frequency."""
    in_documents = Counter(term for document in documents for term in set(document))
    kept = sorted(in_documents, key=lambda term: (-in_documents[term], term))[:MAX_TERMS]
    column = {term: i for i, term in enumerate(kept)}
    matrix = np.zeros((len(documents), max(1, len(kept))), dtype=np.float32)
    for row, document in enumerate(documents):
        for term, count in Counter(document).items():
            if term in column:
                matrix[row, column[term]] = 1.0 + np.log(count)
    idf = np.log((1 + len(documents)) / (1 + np.array([in_documents[term] for term in kept], dtype=np.float32))) + 1.0
    if kept:
        matrix *= idf.astype(np.float32)
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    matrix /= np.where(lengths > 0, lengths, 1.0)
    return matrix


def salience(matrix: Matrix) -> npt.NDArray[np.float32]:
    """Each row's closeness to the middle of all rows, 0 to 1, 1 for the closest."""
    if not len(matrix):
        return np.zeros(0, dtype=np.float32)
    middle = matrix.mean(axis=0)
    length = float(np.linalg.norm(middle))
    close = matrix @ (middle / length) if length else np.zeros(len(matrix), dtype=np.float32)
    top = float(close.max())
    return (close / top if top > 0 else close).astype(np.float32)
