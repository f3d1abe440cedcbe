"""Making the noisy counts of a hierarchy add up, and more exact by it.

A region and its parts are counted with independent noise, so the noisy parts do not add up to the noisy whole: each is
a measurement of the other. The least-squares estimate under the condition that parts add up to wholes is unbiased and
at least as exact as every measurement. It takes two passes (Hay, Rastogi, Miklau & Suciu 2010, "Boosting the accuracy
of differentially private histograms through consistency", PVLDB 3), here for variances that need not be equal:

    up     a node's own value and the sum of its children's are averaged, weighted by their inverse variances;
    down   what the children lack to their parent's final value is shared out in proportion to their variances.

The way up leaves each node with the best estimate from its own subtree, the way down adds what the rest of the tree
says. The variances follow exactly, as in the two-pass smoother of Rauch, Tung & Striebel (1965) along a chain. Only
noisy values are used, so it costs no privacy.

Worked example: a region of 100 with parts of 40 and 30, all of variance 1, becomes 90 with 50 and 40, of variance 2/3.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from server.release.inputs import BoolArray, FloatArray

IntArray = NDArray[np.intp]


def make_consistent(values: ArrayLike, variances: ArrayLike, parent: ArrayLike,
                    complete: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Least-squares estimates of the true counts of a forest whose complete families add up.

    Args:
        values: noisy counts of shape (nodes, columns). Columns are independent of each other.
        variances: of the independent noise in each, of the same shape; above 0, or NaN for a node that is not used in
            that column, say one that may not be published. Its value, which may be NaN too, comes back unchanged.
        parent: for each node the index of its parent, or -1; of shape (nodes,), in any order.
        complete: for each node and column whether *all* children that the node has in the world are in the tree and
            used there. A family that is not complete is left as it was measured: with one child unknown, the others say
            nothing about the parent. Without meaning where a node has no children here or is itself not used.

    Returns:
        The estimates and their marginal variances, of the shape of `values`. Estimates of one tree are correlated: the
        variance of a sum of them is not the sum of their variances.

    Raises:
        ValueError: for shapes that do not match, a parent that is no node, parents in a circle, a variance that is
            infinite or not above 0, a used value that is not finite, a complete family with a child that is not used.
    """
    measured, spread = np.array(values, dtype=np.float64), np.array(variances, dtype=np.float64)
    used = ~np.isnan(spread)
    parents, whole = _checked(measured, spread, used, np.asarray(parent), np.asarray(complete))
    families = [_Generation(nodes, parents) for nodes in _by_depth(parents)[1:]]
    if any((whole[family.parents] & ~family.all_of(used)).any() for family in families):
        raise ValueError("a complete family has a child that is not used")
    whole &= used
    value = np.where(used, measured, 0.0)
    of_children = [_upward(family, value, spread, whole) for family in reversed(families)]
    for family, sums in zip(families, reversed(of_children), strict=True):
        _downward(family, value, spread, whole, sums)
    return np.where(used, value, measured), spread


class _Generation:
    """The nodes of one depth, sorted by parent.

    Attributes:
        children: indices of the nodes.
        parents: indices of their parents, each once.
        family: for each child the position of its parent in `parents`.
    """

    def __init__(self, nodes: IntArray, parents: IntArray) -> None:
        self.children = nodes[np.argsort(parents[nodes], kind="stable")]
        self.parents, self._starts, self.family = np.unique(parents[self.children], return_index=True,
                                                            return_inverse=True)

    def sums(self, entries: FloatArray) -> FloatArray:
        """The children's entries added up, one row for each parent."""
        return np.add.reduceat(entries[self.children], self._starts, axis=0)

    def all_of(self, entries: BoolArray) -> BoolArray:
        """Whether all children's entries are true, one row for each parent."""
        return np.logical_and.reduceat(entries[self.children], self._starts, axis=0)


def _upward(family: _Generation, value: FloatArray, spread: FloatArray,
            whole: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Average the parents with the sums of their children, in place; returns those sums and their variances."""
    total, total_spread = family.sums(value), family.sums(spread)
    own = spread[family.parents]
    share = own / (own + total_spread)
    use = whole[family.parents]
    value[family.parents] += np.where(use, share * (total - value[family.parents]), 0.0)
    spread[family.parents] = np.where(use, share * total_spread, own)
    return total, total_spread


def _downward(family: _Generation, value: FloatArray, spread: FloatArray, whole: BoolArray,
              sums: tuple[FloatArray, FloatArray]) -> None:
    """Share out among the children, in place, what their upward sums lack to the parents' final values."""
    total, total_spread = (each[family.family] for each in sums)
    parents = family.parents[family.family]
    use = whole[parents]
    share = spread[family.children] / total_spread
    value[family.children] += np.where(use, share * (value[parents] - total), 0.0)
    spread[family.children] += np.where(use, share * share * (spread[parents] - total_spread), 0.0)


def _by_depth(parents: IntArray) -> list[IntArray]:
    """The nodes of each depth, roots first."""
    found = [np.flatnonzero(parents < 0)]
    left = np.flatnonzero(parents >= 0)
    placed = parents < 0
    while left.size:
        below = placed[parents[left]]
        if not below.any():
            raise ValueError("parents go round in a circle")
        found.append(left[below])
        placed[left[below]] = True
        left = left[~below]
    return found


def _checked(values: FloatArray, variances: FloatArray, used: BoolArray, parent: NDArray[Any],
             complete: NDArray[Any]) -> tuple[IntArray, BoolArray]:
    """Parents and complete families as they are worked with, copied, once everything is found to be in order."""
    if values.ndim != 2 or not values.shape == variances.shape == complete.shape or parent.shape != values.shape[:1]:
        raise ValueError(f"values {values.shape}, variances {variances.shape}, complete {complete.shape} and parent "
                         f"{parent.shape} must be (nodes, columns), thrice, and (nodes,)")
    if complete.dtype != np.bool_ or not np.issubdtype(parent.dtype, np.integer):
        raise ValueError(f"parent {parent.dtype} must be integers and complete {complete.dtype} booleans")
    if ((parent < -1) | (parent >= len(values))).any():
        raise ValueError("a parent is neither a node nor -1")
    if not (np.isfinite(variances[used]) & (variances[used] > 0.0)).all():
        raise ValueError("variances must be finite and above 0, or NaN")
    if not np.isfinite(values[used]).all():
        raise ValueError("values must be finite where they are used")
    return parent.astype(np.intp), complete.astype(np.bool_)
