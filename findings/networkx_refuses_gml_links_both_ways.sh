#!/usr/bin/env bash
# networkx 3.6.1: read_gml of an undirected graph in which a link is written from both of its ends, as tools do that list the
# neighbours of every node, refuses the file: the second is a duplicate. read_graphml of the same graph makes two parallel
# links of it, so that every weight of a Laplacian is doubled. Two formats, one graph, and neither gives the one link.
# Seen: GML: NetworkXError, edge #1 (1--0) is duplicated / GraphML: 2 links
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --disable-pip-version-check --target "$folder" networkx==3.6.1
PYTHONPATH=$folder python3 - <<'PROGRAM'
import io

import networkx as nx

gml = """graph [
  node [ id 0 label "a" ]
  node [ id 1 label "b" ]
  edge [ source 0 target 1 ]
  edge [ source 1 target 0 ]
]"""
graphml = (
    b'<graphml xmlns="http://graphml.graphdrawing.org/xmlns"><graph edgedefault="undirected"><node id="a"/><node id="b"/>'
    b'<edge source="a" target="b"/><edge source="b" target="a"/></graph></graphml>'
)
try:
    said = str(list(nx.parse_gml(gml).edges))
except nx.NetworkXError as error:
    said = f"NetworkXError, {str(error).splitlines()[0]}"
other = nx.read_graphml(io.BytesIO(graphml))
print(f"GML: {said} / GraphML: {other.number_of_edges()} links")
assert said.startswith("NetworkXError") and "duplicated" in said and other.number_of_edges() == 2
PROGRAM
