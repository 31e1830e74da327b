"""What `cojax --help` says: enough to work from alone."""

import textwrap

from ..methods.facts import KNOWN, Facts

COJAX = """Train one model and share out the CPU over a network of computing centres, without moving data.

Examples:
  cojax demo                          a real data set over a real backbone network, in under a minute
  cojax plan my-plan.toml --out july  your own case; `cojax plan --help` explains the file
  cojax check my-plan.toml answer.csv what shares that something else has found lose, and where
  cojax scale                         how long a step takes on this machine, from 100 to 100 000 nodes
  cojax --version

An option that takes several values may be repeated: --set seed=1 --set steps=200 is --set seed=1 steps=200.

Exit codes: 0 certified, 2 bad input, 3 not certified within the steps, 4 no plan is possible, 5 certified but no
checkpoint could be written, 130 after Ctrl-C, 143 after SIGTERM.
Compiled programs are kept in the user's folder for caches, and the next run starts sooner;
JAX_COMPILATION_CACHE_DIR names another folder, JAX_ENABLE_COMPILATION_CACHE=false keeps none.
"""

DEMO = """A support vector machine and 400 kilo-cores over the 14 nodes of NSFNET.

The breast-cancer samples that come with scikit-learn lie unevenly on the nodes; four random parts of the links take
turns and a tenth of them fail; every number that travels is cut to 8 bits. Prints a table and writes a folder:
report.html with pictures, allocation.csv, certificate.json, trace.csv, and plan.toml, which `cojax plan` runs again.

Examples:
  cojax demo
  cojax demo --seed 7 --steps 50000 --out seed7
"""

EXAMPLE = """
title = "Three sites"
steps = 5000                      # at most; the run ends early once it is exact to rounding
[nodes]                           # or: file = "nodes.csv", with these columns and `node` for the names
names = ["Oslo", "Bergen", "Tromso"]
capacity = [40.0, 25.0, 10.0]     # upper bounds, unless there is a column `upper`
demand = [30.0, 10.0, 8.0]
[cpu]
budget = 45.0                     # what the shares sum to, at every step
[graph]
name = "ring"
[link]
name = "innovation"
quantizer = { name = "log", rho = 0.5 }
"""


def _methods() -> str:
    """The lines on the table of methods, from what is known of them."""
    lines = [f"learn = {{ name = {_named('learn')} }}", f"allocate = {{ name = {_named('allocate')} }}"]
    lines.append(
        "names left out are diging and laplacian; numbers left out are computed from bounds on curvature and spectra;"
    )
    words: dict[str, list[str]] = {}
    for facts in _in_plans():
        if facts.words:
            words.setdefault(facts.words, []).append(str(facts.in_plans))
    lines.append("; ".join(f"{', '.join(names)}: {said}" for said, names in words.items()))
    margin = " " * 13
    wrapped = [textwrap.fill(line, 118, initial_indent=margin, subsequent_indent=margin) for line in lines]
    return "  [method]   " + "\n".join(wrapped).lstrip()


def _in_plans() -> list[Facts]:
    return [facts for facts in KNOWN.values() if facts.in_plans]


def _named(half: str) -> str:
    """The names of the methods of one half, each with the numbers that it takes."""
    takers: dict[str, list[str]] = {}
    for facts in _in_plans():
        if facts.half == half:
            takers.setdefault(", ".join(("step_size", *facts.numbers)), []).append(f'"{facts.in_plans}"')
    return "; ".join(f"{', '.join(names)} ({numbers})" for numbers, names in takers.items())


PLAN = (
    """Run the case that a TOML file describes, and write a folder as `cojax demo` does.

The column `share` of allocation.csv is the answer: the cheapest shares within the bounds, with the certificate that
nothing is cheaper. The run beside it shows what the nodes reach by themselves, with soft bounds. Both must be within
the tolerance for exit code 0. File names are relative to the plan. A number that is left out has the default given
here, or is computed where it says so. Keys that are not known are refused.

The run is saved to checkpoint.npz in that folder as it goes on, until it is certified. Ctrl-C and SIGTERM end it after
the steps under way; with --resume it goes on from there, bit for bit, and a run that was too short with more steps.
Without --resume it begins anew, and a checkpoint that is there is kept under another name, which is said.
That folder is --out, or one named as the plan with -result in the current folder; it is said before and after.

What if: --set KEY=VALUE ... changes keys for this run, --against FOLDER compares with an earlier result and writes
against.csv: cojax plan my-plan.toml --set cpu.budget=310 --against my-plan-result --out more

Example, a whole plan:
"""
    + EXAMPLE.replace("\n", "\n  ").rstrip()
    + """

Keys:
  title; steps = 10000; every = 100 (fewer below 1000 steps), steps between two lines of trace.csv;
  seed = 0, of all that is drawn; tolerance = 1e-4, relative, that both certificates must keep
  [nodes]    file, a CSV with the column node; or arrays: names, and columns for the cost
             lower (0), upper (capacity, else none): bounds of the shares
             pue, multiplies the price; latitude, longitude in degrees; region, the column of [hours] file for the node;
             work and speed, for [clock]
  [cpu]      budget; cost, which may be left out where the columns fit one of these alone:
             "deviation"  (x - demand)^2 / (2 capacity)    columns demand, capacity
             "price"      price x + curvature x^2 / 2       columns price, curvature (0; the run then takes a little)
             "delay"      work / x                          column work
  [units]    cpu = "CPU units", money: what shares and costs count, for what is printed
  [resources.NAME]
             another resource of the same nodes, such as memory: budget, cost, unit, and a node table of its own,
             nodes = { file = "memory.csv" }, for --hours also hours = { file = "memory-prices.csv" }; it is shared out
             by itself, into a folder NAME beside the other results
  [graph]    file, .graphml (yEd's too), .gml, .csv with the columns source,target, .xml or .txt of SNDlib, or a list
             of links as SNAP or KONECT publish it (.txt, .tsv, .edges, out.*), any of them packed (.bz2, .gz); links of
             one direction are taken both ways; or name:
             nsfnet, abilene, ring, path, complete, star, grid, torus, exponential,
             erdos_renyi (probability), geometric (radius), scale_free (links),
             regular (links), small_world (links, even, probability)
             weights = "metropolis", "max_degree", "best_constant" or "fastest"
             switching = 1, how many random parts of the links take turns; share = 0.5, of links in each
             loss = 0.0, probability that a link is down in a step
  [clock]    how long the training takes with the shares to use, and what it waits for: work of one gradient, speed (1),
             work that one unit of share does in a second, each a number here or a column of the nodes; latency (0) and
             bandwidth (infinite) of all links, "12 ms" and "10 Gbit/s", which the columns latency and bandwidth of a
             graph file tell apart; barrier = "neighbours", or "all": nobody begins before all are heard
  [data]     name = "breast_cancer"; or file, .csv, .libsvm, .svm, .bz2 or .gz of these, or .npz with features and
             targets; of a .csv the column target is learned, or the last; LIBSVM may count from 0 or 1
             test_file; or test_fraction = 0.25 is held out
             split = "random" or "by_target"; proportions, the parts that the nodes get (1 to 4, drawn)
             split = "dirichlet": the parts of every class, drawn; concentration, 0.1 to 1 in papers, larger is evener
             weighting = "pooled", all samples alike, or "node_mean", all nodes alike
             standardize = true
  [model]    name = "svm" (ridge 0.1, sharpness 10, weight 1), "logistic" (ridge 0.1), "softmax" (ridge 0.1) or
             "least_squares" (ridge 0); with [data] only
  [penalty]  what makes the bounds soft in the run:
             name = "power" (weight, computed: no share is to end over a bound by more than a hundredth of it, as long
             as that is not too stiff; power 2), "softplus" (weight, sharpness) or "barrier" (epsilon)
  [link]     name = "ideal", the values travel; "quantized", they are rounded, and the run stalls at that precision;
             or "innovation", their changes are rounded, and the run is exact
             quantizer = { name = "log", rho = 0.5 }, { name = "uniform", delta = ... },
             { name = "float", mantissa_bits = ... } or { name = "adaptive", bits = 3 };
             log takes smallest and largest, uniform takes largest: with them, a number takes fewer bits
             memory = "node", or "edge" where the graph switches or loses links (chosen if left out)
"""
    + _methods()
    + """
  [hours]    file, prices by the hour: a .csv with a column of labels, then one column of prices per node, or per
             region of the node table; a column budget is the budget of every line; a line holds until the time of the
             next label, in sums it counts for that long; labels are ISO 8601,
             31.12.2024 23:00, 31/12/2024, 12/31/2024, 2024123123, 202412312345, or seconds or milliseconds since 1970

With --hours the network is left alone: every line of [hours] file takes the place of the column price, and all of them
are allocated exactly, priced and certified in one program. Writes hours.csv (per hour: cost, price of one more and of
one less unit, rents, the node where room is worth most, certified), nodes.csv, shares.csv, hours.json and two pictures.

Exit codes: 0 certified, 2 bad input, 3 not certified within the steps, 4 no plan is possible, 5 certified but no
checkpoint could be written, 130 after Ctrl-C, 143 after SIGTERM.
"""
)

COMPARE = """Run every method on the problem and the network of a plan, and print who gets how far.

All start alike, over the same graphs and the same failing links, with numbers computed from the theory (--methods
picks some: cojax compare plan.toml --methods DIGing NIDS Laplacian Nesterov). Learners are judged by the gap of the
mean model and allocators by the gap of the shares, each half by itself, with its own messages. A gap of 1e-6 is a
millionth of that at the start, measured from the optimum of what the run minimises. All-time feasible (total) says
whether the shares summed to the budget at every step; how far one ended beyond its bounds is in the column before.

With --kilobits every method stops where it has told that much to a neighbour, after the steps of the plan at most: let
it have many. Methods that need more of a node than a gradient a step (d_admm, dual_consensus_admm, ...) tell plain
numbers whatever the link of the plan is; those that need a fixed graph, or bounds, are left out where there is none.

With --seeds 20 every method runs over twenty draws of the links that fail, the same for all: the table tells medians,
and the pictures have bands from the least to the largest.

With --trials 30 every method runs on thirty instances, with the seeds of the plan and the 29 after it: other random
graphs, splits of the data and links that fail. Tables have medians, the band that half of the trials are in, and each
method beside the best on the same instances, with an interval at 95 % or more, or "not distinguishable". Every trial
is kept in the folder: --trials 100 then runs 70, and what was killed goes on. Rivals compile for every instance.

With a section [clock] in the plan seconds are those of its clock, with the shares to use, as `cojax plan` counts them;
a step is one gradient there, also where a method takes more. Without one they are those of this machine.

Writes learn.csv, share.csv and pictures over steps, over bits and, with a clock, over its seconds to a folder; with
--trials learn-trials.csv, share-trials.csv, pictures of gaps and of performance profiles, and a file for every trial.
Exit codes: 0, or 2 for bad input.
"""

CHECK = """Judge shares that anything else has found, CVXPY, PyPSA or a spreadsheet, by what a plan asks for.

Example, in the folder of my-plan.toml with three nodes:
  answer.csv
    node,share
    Oslo,25
    Bergen,12
    Tromso,8
  cojax check my-plan.toml answer.csv --tolerance 1e-6

Prints a row a node, those that lose most first: its share, the best share at the optimum, how far it is beyond a bound,
its marginal cost, and what it loses: f(share) - f(best) - price (share - best), which is never negative and sums to the
cost above the optimum. Then cost, price, budget, bounds, the most that any shares could be cheaper by, and the verdict.
Judged are the shares, by the hard bounds; a model, the graph and the method of the plan have no part in it.

ANSWER.csv has the columns node and share among any others, as the allocation.csv that `cojax plan` writes, or two
columns only, names and shares. Its lines may have any order. Shares are in the unit of the plan; a column may say it,
"share [GB]". With --resource NAME they are those of [resources.NAME].

With --out FOLDER it writes check.csv, the table, and check.json, the rest. Exit codes: 0 certified, 2 bad input, 3 not
certified, 4 no plan is possible.
"""

SCALE = """Time whole runs, and one step, on this machine, at many sizes, and draw them.

The job is least squares, 20 samples a node, and CPU shares beside it, in float32. First every size from nothing: a
random regular graph is drawn, a network built, every constant computed, and the run certified to 1e-3. Then one step of
gradient tracking with every layout and every link; matrices up to 3 000 nodes only. Compiling is told apart. A step is
the fastest of three turns: other work on the machine only adds to it. Once --seconds are over, nothing new begins, and
what is left out is named.

Writes scale.csv, scale.json with the machine, scale.png and parts.png. Exit codes: 0, or 2 for bad input.

Examples:
  cojax scale
  cojax scale --sizes 1e3 1e4 1e5 1e6 --layouts auto --links float --seconds 300
"""
