"""A state for each detection, as if the platform had been there from the first."""

from typing import ClassVar

from ampel_dagster.units.t1.simple import SimpleCombiner


class RetroCombiner(SimpleCombiner):
    """Join points as `SimpleCombiner` does, and make a state of what was known at each detection of the past, too.

    AMPEL's `T1PhotoRetroCombiner`: an object that is accepted late gets the states that it would have had, each with
    its own results. An earlier state holds the points up to its detection, and none from its future.
    """

    # Its states are not those of the alert before with newer points added.
    grows: ClassVar[bool] = False
    retro: ClassVar[bool] = True
