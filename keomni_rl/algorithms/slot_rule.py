"""Which of the groups alive a step takes: the oldest that have come, late ones as late as they may.

At every version the groups that were started at it or before have to be trained on within
max_staleness steps, groups_per_step of them a step. A step that would leave more old groups than
the next steps can take waits instead.
"""

from collections.abc import Container, Mapping


def choose_groups(
    versions: Mapping[int, int],
    ready: Container[int],
    *,
    size: int,
    max_staleness: int,
    version: int,
) -> list[int] | None:
    """The groups of the step that is due; None as long as it has to wait.

    Args:
        versions: group -> version of the weights when it was started, of all groups alive.
        ready: those that have come.
        size: groups that a step takes.
        max_staleness: versions that a group may be old when it is trained on; at 0 groups are
            taken in their order.
        version: of the weights that will learn from them.
    """
    oldest = sorted(versions, key=lambda group: (versions[group], group))
    chosen = [group for group in oldest if group in ready][:size]
    if len(chosen) < size or (not max_staleness and chosen != oldest[:size]):
        return None
    left = [group for group in oldest if group not in {*chosen}]
    for steps in range(max_staleness):
        due = sum(versions[group] + max_staleness <= version + steps for group in left)
        if due > steps * size:
            return None
    return chosen
