"""The demo is a plan like any other: a support vector machine and a CPU budget, shared over a real backbone."""

from ..._support.checks import whole_number
from . import plans

# Computing centres in the cities of `cojax.graphs.nsfnet`, made up for the demo: capacity and demand in kilo-cores.
CENTRES = {
    "Seattle": (60.0, 48.0),
    "Palo Alto": (90.0, 85.0),
    "San Diego": (40.0, 12.0),
    "Salt Lake City": (25.0, 6.0),
    "Boulder": (30.0, 15.0),
    "Houston": (80.0, 30.0),
    "Lincoln": (20.0, 14.0),
    "Champaign": (55.0, 20.0),
    "Pittsburgh": (35.0, 24.0),
    "Atlanta": (70.0, 35.0),
    "Ann Arbor": (45.0, 2.0),
    "Ithaca": (20.0, 11.0),
    "Princeton": (65.0, 30.0),
    "College Park": (85.0, 62.0),
}
# A little more than the 394 that the centres ask for; the rest has to go where it costs least.
BUDGET = 400.0
# The load of a centre stays between these parts of its capacity, as in arXiv 2510.25176: four centres end at their
# upper bound and one at its lower.
LEAST_LOAD, MOST_LOAD = 0.1, 0.75


def demo_plan(*, steps: int, seed: int) -> plans.Plan:
    """The plan of the demo: uneven data, links that switch, fail and round what they carry, and bounds that are active.

    Four random parts of the links take turns, one per step, and a tenth of the links that are up fail; what travels is
    the change of a value, in 8 bits. Raises `CojaxInputError` for steps < 1 or a negative seed.
    """
    whole_number("cojax demo", "--steps (`$.steps` in its plan)", steps, at_least=1, at_most=plans.MOST_COUNT)
    whole_number("cojax demo", "--seed (`$.seed` in its plan)", seed, at_least=0, at_most=plans.MOST_SEED)
    capacity = [capacity for capacity, _ in CENTRES.values()]
    plan = plans.Plan(
        title="Breast-cancer SVM and 400 kilo-cores over NSFNET",
        steps=steps,
        every=plans.default_every(steps),
        seed=seed,
        nodes=plans.NodesTable(
            names=list(CENTRES),
            capacity=capacity,
            demand=[demand for _, demand in CENTRES.values()],
            lower=[LEAST_LOAD * size for size in capacity],
            upper=[MOST_LOAD * size for size in capacity],
        ),
        cpu=plans.Cpu(budget=BUDGET, cost="deviation"),
        graph=plans.GraphTable(name="nsfnet", switching=4, loss=0.1),
        data=plans.Data(name="breast_cancer"),
        model=plans.Svm(ridge=0.1, sharpness=10.0, weight=1.0),
        # Four times the weight that would be computed: bounds give way less, and steps are shorter.
        penalty=plans.PowerTable(weight=1.0),
        # A sign, 0, and levels e^0.5 apart between these ends fit into 8 bits.
        link=plans.LinkTable(
            name="innovation", quantizer=plans.Log(rho=0.5, smallest=1e-12, largest=1e3), memory="edge"
        ),
    )
    return plans.check_plan(plan, "cojax demo")
