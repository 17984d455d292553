"""What was tried and what was lost, as one table."""

from collections.abc import Sequence

from tests.chaos.trials import NO_MORE, Outcome


def table(outcomes: Sequence[Outcome]) -> str:
    """One line for every kind of trial and job."""
    outcomes = [each for each in outcomes if each.what != NO_MORE]
    lines = [f"{'trial':<22}{'of':<30}{'tried':>7}{'skipped':>9}{'lost':>6}"]
    for kind, job in dict.fromkeys((each.trial.kind, each.trial.job) for each in sorted(outcomes, key=_order)):
        mine = [each for each in outcomes if (each.trial.kind, each.trial.job) == (kind, job)]
        skipped = sum(each.skipped for each in mine)
        lines.append(
            f"{kind:<22}{job:<30}{len(mine) - skipped:>7}{skipped:>9}{sum(map(bool, (each.lost for each in mine))):>6}"
        )
    kills = sum("kill" in each.trial.kind or "two" in each.trial.kind for each in outcomes if not each.skipped)
    lines.append(f"{len(outcomes) - sum(each.skipped for each in outcomes)} trials, {kills} of them kills")
    reasons = {f"{each.trial.kind}: {each.what}" for each in outcomes if each.skipped}
    return "\n".join([*lines, *(f"  skipped: {reason}" for reason in sorted(reasons))])


def _order(outcome: Outcome) -> tuple[str, str]:
    return outcome.trial.kind, outcome.trial.job
