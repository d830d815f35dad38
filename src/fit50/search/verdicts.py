"""What becomes of each file that was measured, and why."""

from __future__ import annotations

from collections.abc import Sequence

from fit50.evaluate.intervals import difference
from fit50.search.front import Answered, costs, front, outpaced
from fit50.search.objective import choice_rule, choose, excesses
from fit50.spec.errors import RuntimeRefusal
from fit50.spec.outcome import Candidate
from fit50.spec.request import Request


def judge(
    request: Request, candidates: Sequence[Candidate], answers: Answered
) -> tuple[tuple[Candidate, ...], Candidate]:
    """Gives every candidate its verdict, and the chosen one.

    Args:
        request: whose budget counts.
        candidates: with their scores; the refused have none, and keep their verdict.
        answers: by the others' names, which validation images each answers correctly (N,).

    Raises:
        BudgetError: none is within the budget.
        RuntimeRefusal: every float32 file was refused, so there is nothing to compare with.
    """
    budget = request.budget
    deployable = [c for c in candidates if c.verdict != "refused" and c.runtime != "torch"]
    floats = [c for c in deployable if c.precision == "float32"]
    if not floats:
        reasons = [f"\n  {c.name}: {c.reason}" for c in candidates if c.verdict == "refused"]
        raise RuntimeRefusal(f"no runtime makes a float32 file of this network:{''.join(reasons)}")
    best_float = min(floats, key=lambda c: (-float(answers[c.name].mean()), costs(c)))
    points = 100 * float(answers[best_float.name].mean())
    chosen = choose(deployable, budget, points, answers)
    within = [c for c in deployable if not excesses(c.score, budget, points)]
    offered = {c.name for c in front(within, answers)}

    def verdict(candidate: Candidate) -> dict[str, object]:
        if candidate.verdict == "refused":
            return {}
        compared = difference(answers[candidate.name], answers[best_float.name])
        over = "; ".join(excesses(candidate.score, budget, points))
        if candidate.runtime == "torch":
            found, reason = "reference", "the trained baseline as torch runs it; not offered"
        elif candidate is chosen:
            found, reason = "chosen", choice_rule(request)
        elif over:
            found, reason = "over-budget", over
        elif candidate.name in offered:
            found, reason = "front", "no other file within the budget is faster, smaller and more accurate"
        elif outpaced(candidate, within, answers):
            found, reason = "dominated", "a file in float is faster and as accurate"
        else:
            found, reason = "dominated", "another file is at least as fast, small and accurate"
        return {"against_baseline": compared, "verdict": found, "reason": reason}

    judged = tuple(c.model_copy(update=verdict(c)) for c in candidates)
    return judged, next(c for c in judged if c.verdict == "chosen")
