"""The tables of docs/scale.md, as the model computes them."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from bench.scale.model import Assumptions, Cost, Demand

BEGIN, END = "<!-- python -m bench.scale tables -->", "<!-- end -->"
_KINDS = {"campaign_message": "a campaign's message", "single_message": "a receipt", "open": "an open"}
_FEW = 0.5


def with_tables(page: str, costs: Mapping[str, Cost], assumed: Assumptions) -> str:
    """The page, with what the model says now. Raises ValueError for a page without a place for it."""
    before, _, rest = page.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"the page has no {BEGIN} with {END} after it")
    return f"{before}{BEGIN}\n\n{tables(costs, assumed)}\n{END}{after}"


def tables(costs: Mapping[str, Cost], assumed: Assumptions) -> str:
    """What each costs, and what follows for each volume; in Markdown."""
    demands = [Demand(volume, costs, assumed) for volume in assumed.volumes]
    return "\n".join(
        (
            "**What each costs**",
            "",
            *_table(["", *_KINDS.values()], _cost_rows(costs)),
            "",
            f"**What a day takes**: {_given(assumed)}",
            "",
            *_table(["", *(f"{_volume(demand)} a day" for demand in demands)], _demand_rows(demands)),
            "",
        )
    )


def _cost_rows(costs: Mapping[str, Cost]) -> Iterable[list[str]]:
    chosen = [costs[kind] for kind in _KINDS]
    for process in chosen[0].processor_microseconds:
        spent = [cost.processor_microseconds[process] for cost in chosen]
        if max(spent) >= 1:
            yield [f"µs of the processor: {process}", *(f"{each:,.0f}" for each in spent)]
    totals = [sum(cost.processor_microseconds.values()) for cost in chosen]
    yield ["**µs of the processor, all**", *(f"**{total:,.0f}**" for total in totals)]
    yield ["bytes that PostgreSQL writes (WAL)", *(f"{cost.written_bytes:,.0f}" for cost in chosen)]
    yield ["bytes that PostgreSQL keeps, indexes too", *(f"{cost.kept_bytes:,.0f}" for cost in chosen)]
    yield ["events", *(f"{cost.events:.4f}" for cost in chosen)]
    yield ["bytes of events", *(f"{cost.event_bytes:,.0f}" for cost in chosen)]


def _demand_rows(demands: Sequence[Demand]) -> Iterable[list[str]]:
    yield ["messages a second: mean; peak", *(f"{each.mean:,.0f}; {each.peak:,.0f}" for each in demands)]
    processes = demands[-1].processes()
    shown = [process for process in processes if demands[-1].cores(process) >= _FEW]
    for process in shown:
        yield [f"cores: {process}", *(_cores(each.cores(process)) for each in demands)]
    yield ["**cores, all**", *(f"**{_cores(each.all_cores)}**" for each in demands)]
    engines = demands[0].assumed.engines
    for name, engine in engines.items():
        yield [
            f"{engine.label} ({engine.limit:,.0f})",
            *(_asked(each.engines[name], each.share(name)) for each in demands),
        ]
    yield ["**full first**", *(_engine_of(each) for each in demands)]
    yield ["**cells, or shards of that engine**", *(f"**{each.cells}**" for each in demands)]


def _given(assumed: Assumptions) -> str:
    return (
        f"the busiest hour is {assumed.peak:g} × the mean, {assumed.single_share:.0%} are receipts, "
        f"{assumed.opens:g} opens for each other message, what is known of a message is kept {assumed.kept_days:g} days, no core is busier "
        f"than {assumed.busy:.0%}"
    )


def _engine_of(demand: Demand) -> str:
    label = demand.assumed.engines[demand.first_limit].label
    return f"{label.partition(':')[0]}, {demand.first_limit.partition('_')[2]}"


def _asked(figure: float, share: float) -> str:
    return f"{figure:,.1f} ({share:.0%})" if share <= 1 else f"**{figure:,.1f} ({share:.0%})**"


def _cores(figure: float) -> str:
    return f"{figure:,.1f}"


def _volume(demand: Demand) -> str:
    millions = demand.messages_a_day // 1_000_000
    return f"{millions} M" if millions < 1_000 else f"{millions // 1_000} B"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterable[str]:
    return (f"| {' | '.join(row)} |" for row in chain((head, ["---"] * len(head)), rows))
