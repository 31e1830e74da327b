#!/usr/bin/env bash
# networkx 3.6.1: read_edgelist knows one comment sign. A list of links as KONECT publishes them begins with lines that start
# with a percent sign ("% sym unweighted", then counts); read as it is, the first of them becomes a link between the nodes
# "%" and "sym", and the counts another, without a word: degrees, connectivity and Laplacians are then those of another graph.
# Seen: nodes ['%', '1', '2', '3', 'sym'] connected False; with comments='%': ['1', '2', '3'] connected True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --disable-pip-version-check --target "$folder" networkx==3.6.1
PYTHONPATH=$folder python3 - <<'PROGRAM'
import io

import networkx as nx

text = b"% sym unweighted\n1 2\n2 3\n"


def told(**options):
    graph = nx.read_edgelist(io.BytesIO(text), data=False, **options)
    return f"{sorted(graph)} connected {nx.is_connected(graph)}"


seen = f"nodes {told()}; with comments='%': {told(comments='%')}"
print(seen)
assert seen == "nodes ['%', '1', '2', '3', 'sym'] connected False; with comments='%': ['1', '2', '3'] connected True"
PROGRAM
