"""k-means: a coreset of the images nearest to the centroids (Lloyd 1982; Arthur and Vassilvitskii 2007)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.lazy import sklearn, threadpoolctl, torch
from methods.selections.coreset import coreset, distances

if TYPE_CHECKING:
    from torch import Generator, Tensor


def kmeans(features: Tensor, count: int, *, generator: Generator) -> Tensor:
    """Choose the row nearest to each centroid of k-means, k = `count` (scikit-learn: Lloyd's algorithm, one k-means++ start).

    If a centroid's nearest row has been chosen for an earlier centroid, the next nearest is taken. See `Rule`.
    """
    seed = int(torch.randint(2**31, (), generator=generator))
    # Several threads would add in the order in which they finish: the same seed would not give the same bits.
    with threadpoolctl.threadpool_limits(limits=1, user_api="openmp"):
        clusters = sklearn.cluster.KMeans(n_clusters=count, n_init=1, random_state=seed).fit(features.cpu().numpy())
    return nearest_rows(torch.from_numpy(clusters.cluster_centers_).to(features), features)


def nearest_rows(centroids: Tensor, features: Tensor) -> Tensor:
    """Return for each centroid `[k, d]`, in turn, the nearest row of `features` `[n, d]` that is not taken: indices `[k]`."""
    apart, chosen = distances(centroids, features), []  # [k, n]
    for row in apart:
        chosen.append(row.argmin())
        apart[:, chosen[-1]] = torch.inf
    return torch.stack(chosen)


METHOD = coreset(
    name="kmeans",
    label="k-means",
    citation="Lloyd 1982; Arthur and Vassilvitskii 2007",
    rule=kmeans,
    presets={"quick": {"epochs": 5}, "cpu": {"epochs": 2}},
    order=40,
    color="#b1400d",
)
