"""Two research backbones of the United States, typed in from what was published."""

from typing import Any

NSFNET_PLACES = {
    "Seattle": (47.61, -122.33),
    "Palo Alto": (37.44, -122.14),
    "San Diego": (32.72, -117.16),
    "Salt Lake City": (40.76, -111.89),
    "Boulder": (40.01, -105.27),
    "Houston": (29.76, -95.36),
    "Lincoln": (40.80, -96.67),
    "Champaign": (40.12, -88.24),
    "Pittsburgh": (40.44, -80.00),
    "Atlanta": (33.75, -84.39),
    "Ann Arbor": (42.28, -83.74),
    "Ithaca": (42.44, -76.50),
    "Princeton": (40.35, -74.66),
    "College Park": (38.98, -76.94),
}
NSFNET_LINKS = {
    "Seattle": ("Palo Alto", "San Diego", "Champaign"),
    "Palo Alto": ("San Diego", "Salt Lake City"),
    "San Diego": ("Houston",),
    "Salt Lake City": ("Boulder", "Ann Arbor"),
    "Boulder": ("Houston", "Lincoln"),
    "Houston": ("Atlanta", "College Park"),
    "Lincoln": ("Champaign",),
    "Champaign": ("Pittsburgh",),
    "Pittsburgh": ("Atlanta", "Ithaca", "Princeton"),
    "Ann Arbor": ("Ithaca", "Princeton"),
    "Ithaca": ("College Park",),
    "Princeton": ("College Park",),
}
ABILENE_PLACES = {
    "New York": (40.71, -74.01),
    "Chicago": (41.85, -87.65),
    "Washington DC": (38.90, -77.04),
    "Seattle": (47.61, -122.33),
    "Sunnyvale": (37.37, -122.04),
    "Los Angeles": (34.05, -118.24),
    "Denver": (39.74, -104.98),
    "Kansas City": (39.11, -94.63),
    "Houston": (29.76, -95.36),
    "Atlanta": (33.75, -84.39),
    "Indianapolis": (39.77, -86.16),
}
ABILENE_LINKS = {
    "New York": ("Chicago", "Washington DC"),
    "Chicago": ("Indianapolis",),
    "Washington DC": ("Atlanta",),
    "Seattle": ("Sunnyvale", "Denver"),
    "Sunnyvale": ("Los Angeles", "Denver"),
    "Los Angeles": ("Houston",),
    "Denver": ("Kansas City",),
    "Kansas City": ("Houston", "Indianapolis"),
    "Houston": ("Atlanta",),
    "Atlanta": ("Indianapolis",),
}


def nsfnet() -> Any:
    """The NSFNET T1 backbone of 1991, 14 nodes and 21 links, with the cities' latitude and longitude in degrees.

    Source: Mukherjee, Banerjee, Ramamurthy, Mukherjee, IEEE/ACM Trans. Networking 4(5), 1996, doi 10.1109/90.541317.
    """
    return _map_names(NSFNET_PLACES, NSFNET_LINKS)


def abilene() -> Any:
    """The Abilene research backbone of 2005, 11 nodes and 14 links, with the cities' latitude and longitude in degrees.

    Source: Knight et al., The Internet Topology Zoo, IEEE JSAC 29(9), 2011, doi 10.1109/JSAC.2011.111002.
    """
    return _map_names(ABILENE_PLACES, ABILENE_LINKS)


def _map_names(places: dict[str, tuple[float, float]], links: dict[str, tuple[str, ...]]) -> Any:
    import networkx as nx

    graph = nx.Graph()
    for city, (latitude, longitude) in places.items():
        graph.add_node(city, latitude=latitude, longitude=longitude)
    graph.add_edges_from((city, other) for city, others in links.items() for other in others)
    return graph
