"""Checks what tenants cost: the largest by name, all others together, and nothing lost or counted twice."""

from __future__ import annotations

import random
from collections.abc import Iterable
from decimal import Decimal

from tierwise.routing.cost import Usage
from tierwise_router.record import MOST_NAMES, MOST_TENANTS_KEPT, OTHER, TENANTS_SHOWN, Charge, Ledger, Record


def paid(ledger: Ledger, charges: Iterable[tuple[str, Decimal]]) -> None:
    for tenant, cost in charges:
        record = Record("r", 0.0, tenant=tenant, tier="t", outcome="ok")
        record.charges.append(Charge("t", Usage(input=1), cost))
        ledger.add(record, 1.0)


def test_a_few_tenants_are_all_named() -> None:
    ledger = Ledger()
    paid(ledger, [("blue", Decimal("0.1")), ("red", Decimal("0.2")), ("blue", Decimal("0.3"))])
    assert ledger.tenants() == {"blue": Decimal("0.4"), "red": Decimal("0.2")}


def test_of_many_only_the_largest_are_named() -> None:
    ledger = Ledger()
    small = [(f"small-{number}", Decimal("0.01")) for number in range(50)]
    paid(ledger, small)
    assert len(ledger.tenants()) == TENANTS_SHOWN + 1
    assert ledger.tenants()[OTHER] == Decimal("0.3")
    paid(ledger, [("late", Decimal(1)), ("late", Decimal(2))])
    assert ledger.tenants()["late"] == 3
    assert ledger.tenants()[OTHER] == Decimal("0.3")


def test_what_a_tenant_cost_before_it_had_a_name_stays_with_the_others() -> None:
    ledger = Ledger()
    paid(ledger, [(f"first-{number}", Decimal(2)) for number in range(TENANTS_SHOWN)])
    paid(ledger, [("grows", Decimal(1)), ("grows", Decimal(1)), ("grows", Decimal(1))])
    assert (ledger.tenants()["grows"], ledger.tenants()[OTHER]) == (Decimal(1), Decimal(2))


def test_no_counter_falls_the_names_are_bounded_and_the_sum_is_what_was_paid() -> None:
    chance, ledger, total = random.Random(5), Ledger(), Decimal(0)
    before: dict[str, Decimal] = {}
    for step in range(3000):
        cost = Decimal(chance.randrange(1, 1000)) / 1000 * (1 + step // 100)
        paid(ledger, [(f"tenant-{chance.randrange(500) + step // 10}", cost)])
        total += cost
        now = ledger.tenants()
        assert all(now[name] >= cost for name, cost in before.items())
        before = now
    assert sum(before.values()) == total
    assert TENANTS_SHOWN < len(before) <= MOST_NAMES + 1


def test_a_client_that_invents_tenants_or_calls_itself_other_does_no_harm() -> None:
    ledger = Ledger()
    paid(ledger, [(OTHER, Decimal(5))])
    paid(ledger, [(f"t-{number}", Decimal("0.001")) for number in range(MOST_TENANTS_KEPT + 50)])
    assert ledger.tenants()[OTHER] >= 5
    assert len(ledger._tenant_cost) == MOST_TENANTS_KEPT
    assert sum(ledger.tenants().values()) == 5 + Decimal("0.001") * (MOST_TENANTS_KEPT + 50)
