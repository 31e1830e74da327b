"""What the records of methods say fits those who read them: plan files, limits and laws."""

import inspect

import msgspec
import pytest
from support import laws

from cojax import theory
from cojax.app.plans import plan_parts, rosters
from cojax.methods.facts import KNOWN

PARTS = {"learn": plan_parts.Learner, "allocate": plan_parts.Allocator}
NAMED = {facts.in_plans: facts for facts in KNOWN.values() if facts.in_plans}


@pytest.mark.parametrize("name", NAMED)
def test_a_plan_takes_every_number_that_the_record_of_a_method_offers(name):
    facts = NAMED[name]
    read = msgspec.convert({"name": name, **dict.fromkeys(facts.numbers, 0.5)}, PARTS[facts.half])
    assert all(getattr(read, number) == 0.5 for number in facts.numbers)
    assert {number for number, takers in rosters.NUMBERS.items() if name in takers} == set(facts.numbers)


@pytest.mark.parametrize("half", PARTS)
def test_a_plan_has_no_number_that_no_method_takes(half):
    taken = {number for facts in NAMED.values() if facts.half == half for number in facts.numbers}
    assert {field.name for field in msgspec.structs.fields(PARTS[half])} == {"name", "step_size", *taken}


@pytest.mark.parametrize("kind", KNOWN, ids=lambda kind: kind.__name__)
def test_the_numbers_of_a_record_are_arguments_of_the_method_and_of_its_limit(kind):
    facts = KNOWN[kind]
    given = dict(facts.given)
    assert {*facts.numbers, *given} <= set(inspect.signature(kind).parameters)
    if facts.limit is not None:
        takes = list(inspect.signature(getattr(theory, facts.limit)).parameters.values())[2:]  # network, curvature
        assert set(given) <= {each.name for each in takes}
        assert {each.name for each in takes if each.default is each.empty} <= {*facts.numbers, *given}


def test_a_method_has_a_record_and_a_line_in_the_laws_or_none():
    names = {facts.half: set() for facts in KNOWN.values()}
    for kind, facts in KNOWN.items():
        names[facts.half].add(kind.__name__)
    assert names["learn"] <= set(laws.LEARNERS) and names["allocate"] <= set(laws.ALLOCATORS)
