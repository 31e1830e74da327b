#!/usr/bin/env bash
# SciPy 1.17.1: a sparse matrix over a number is the matrix times 1 / that number, rounded twice, and not what NumPy makes
# of the same matrix: the Laplacian of a star of 50 nodes over its largest degree has no 1 in it. Only dok_array and lil_array divide.
# Whoever scales weights so that a row sums to 1 at most, and compares, sees a last bit that depends on the format.
# Seen: NumPy 1.0 / bsr 0.9999999999999999 / coo 0.9999999999999999 / csc 0.9999999999999999 / csr 0.9999999999999999 / dia 0.9999999999999999 / dok 1.0 / lil 1.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --disable-pip-version-check --target "$folder" scipy==1.17.1 numpy==2.4.6
PYTHONPATH=$folder python3 - <<'PROGRAM'
import numpy as np
from scipy import sparse

adjacency = np.zeros((50, 50))
adjacency[0, 1:] = adjacency[1:, 0] = 1.0
laplacian = np.diag(adjacency.sum(1)) - adjacency
most = laplacian.max()
hubs = {"NumPy": (laplacian / most)[0, 0]}
for kind in ("bsr", "coo", "csc", "csr", "dia", "dok", "lil"):
    hubs[kind] = (getattr(sparse, f"{kind}_array")(laplacian) / most).toarray()[0, 0]
seen = " / ".join(f"{kind} {float(hub)!r}" for kind, hub in hubs.items())
print(seen)
assert seen == "NumPy 1.0 / bsr 0.9999999999999999 / coo 0.9999999999999999 / csc 0.9999999999999999 / csr 0.9999999999999999 / dia 0.9999999999999999 / dok 1.0 / lil 1.0"
PROGRAM
