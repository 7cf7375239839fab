"""How far a search came that ran out of time: what is proven so far, and what is left."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """`models` were to be searched, one for each instruction and binding; `left` names those that are not done.

    No embedding has less than `bound` of the cost `term`; of a list there is no bound. `struck` says that the clock
    ended the search before its effort was spent, so that another run may come further.
    """

    models: int
    left: tuple[str, ...] = ()
    term: str = ""
    bound: int | None = None
    struck: bool = False

    @property
    def done(self) -> bool:
        """Whether nothing is left."""
        return not self.left

    def __str__(self) -> str:
        bound = "" if self.bound is None else f"none takes less than {self.bound:,} {self.term}; "
        if self.done:
            return f"{bound}all is searched".strip()
        known = tuple(dict.fromkeys(self.left))
        names = ", ".join(known[:3]) + (f" and {len(known) - 3} more" if len(known) > 3 else "")
        clock = " (by the clock: another run may come further)" if self.struck else ""
        done = f"{self.models - len(self.left)} of {self.models} models are searched to the end"
        return f"{bound}{done}, left: {names}{clock}"
