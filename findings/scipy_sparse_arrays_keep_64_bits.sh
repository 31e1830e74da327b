#!/usr/bin/env bash
# SciPy 1.17.1: a graph given by pairs of NumPy's own integers has indices of 64 bits as a sparse *array* and of 32 bits as
# a sparse *matrix*, and products, transposes and conversions keep what they have. networkx 3.6.1 makes arrays, so its
# adjacency and Laplacian have 64 bits too. The same graph takes a third more memory, and so does every copy that
# csgraph makes of it (connected_components on 5 million edges held 180 MB beside the graph instead of 132).
# Arrays made by SciPy itself (eye_array, random_array) have 32 bits.
# Seen: indices of coo_array.tocsr() int64, of coo_matrix.tocsr() int32, of networkx.to_scipy_sparse_array int64, of eye_array int32; a million edges take 16.8 MB as an array, 12.4 MB as a matrix
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --disable-pip-version-check --target "$folder" scipy==1.17.1 numpy==2.4.6 networkx==3.6.1
PYTHONPATH=$folder python3 - <<'PROGRAM'
import networkx as nx
import numpy as np
from scipy import sparse

NODES, EDGES = 100_000, 1_000_000
codes = np.random.default_rng(0).choice(NODES * NODES, EDGES, replace=False)
ends = np.divmod(codes, NODES)  # a directed edge each
array, matrix = (
    kind((np.ones(EDGES), ends), shape=(NODES, NODES)).tocsr() for kind in (sparse.coo_array, sparse.coo_matrix)
)
of_networkx = nx.to_scipy_sparse_array(nx.cycle_graph(5))


def megabytes(graph):
    return (graph.data.nbytes + graph.indices.nbytes + graph.indptr.nbytes) / 1e6


seen = (
    f"indices of coo_array.tocsr() {array.indices.dtype}, of coo_matrix.tocsr() {matrix.indices.dtype}, of "
    f"networkx.to_scipy_sparse_array {of_networkx.indices.dtype}, of eye_array {sparse.eye_array(5).tocsr().indices.dtype}; "
    f"a million edges take {megabytes(array):.1f} MB as an array, {megabytes(matrix):.1f} MB as a matrix"
)
print(seen)
assert seen == (
    "indices of coo_array.tocsr() int64, of coo_matrix.tocsr() int32, of networkx.to_scipy_sparse_array int64, of "
    "eye_array int32; a million edges take 16.8 MB as an array, 12.4 MB as a matrix"
)
assert (array.T @ array).indices.dtype == np.int64
PROGRAM
