#!/usr/bin/env bash
# NumPy 2.4: numpy.unique of integers without counts or indexes no longer sorts: it fills a hash table, one number after
# the other, and sorts what is in there. Of numbers that are nearly all distinct, such as the codes i * n + j of a
# graph's links, that takes many times as long as numpy.sort and a comparison of neighbours, which give the same;
# asked for counts too, which still sorts, numpy.unique is itself faster than without. Here 2 million codes.
# Seen: sort and compare: the same numbers; unique takes more than 3 times as long: True; with counts it is faster: True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --disable-pip-version-check --target "$folder" numpy==2.4.6
PYTHONPATH=$folder python3 - <<'PROGRAM'
import time

import numpy as np

num_nodes = 1_000_000
ends = np.random.default_rng(0).integers(num_nodes, size=(2, 2_000_000))
codes = ends[0] * num_nodes + ends[1]


def by_sort():
    ordered = np.sort(codes)
    return ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])]


def fastest(function):
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return min(times)


same = np.array_equal(by_sort(), np.unique(codes))
sort, unique = fastest(by_sort), fastest(lambda: np.unique(codes))
counted = fastest(lambda: np.unique(codes, return_counts=True))
seen = (
    f"sort and compare: {'the same numbers' if same else 'others'}; unique takes more than 3 times as long: "
    f"{unique > 3 * sort}; with counts it is faster: {counted < unique}"
)
print(seen)
assert seen == (
    "sort and compare: the same numbers; unique takes more than 3 times as long: True; with counts it is faster: True"
), (sort, unique, counted)
PROGRAM
