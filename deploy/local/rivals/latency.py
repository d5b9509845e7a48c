"""How late single writes are, by the same method for every contender."""

from .program import until


def measure_latency(bench, table, figures, check):
    """Send writes at a given rate while a migration runs, and read from the rows how late they were."""
    table.rest()
    bench.source.rest()
    options = bench.options
    bench.tell(f"  {options.rate} updates a second for {options.seconds} s")
    paced = bench.source.write_paced(options.rate, options.seconds)
    until(
        "the timed writes", options.deadline, lambda: table.has_since(paced.since, paced.count), check=check
    )
    late = table.latency(paced.since)
    figures.update(p50=late.p50, p99=late.p99, max=late.max, reached=paced.reached)
    bench.compare(table, figures, "the timed writes")
