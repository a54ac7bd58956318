"""T0: objects that a channel took late, and what an archive still tells of the time before.

A channel's states hold what the database knows; of what no channel took, it knows nothing. To complete an object, the
nights before are read once more from the archive. Its alerts of then are taken without asking the filter, as if the
channel had known; all others are passed over. Each gets the state of its own time, later alerts one more state, and
none a point of its future: the states are those of a channel that took the object from the beginning.
"""

from collections.abc import Sequence
from datetime import date, timedelta

from ampel_dagster.model.night import nights_between
from ampel_dagster.pipeline.t0_ingest import Late
from ampel_dagster.storage.store import SurveyStore
from ampel_dagster.units.bound import ChannelRules


def late_objects(survey: SurveyStore, rules: Sequence[ChannelRules], nights: Sequence[str]) -> Late:
    """Of which objects what is to be taken: those of which a channel with `history_days` took an alert in these nights.

    What was completed before does not count as taken, so that doing it again, or after a crash, finds the same.
    """
    found = {}
    for one in rules:
        first = survey.ledger.first_chosen(one.channel, nights) if one.history_days else {}
        if first:
            found[one.channel] = {stock: (moment[0] - one.history_days, moment) for stock, moment in first.items()}
    return found


def history_nights(rules: Sequence[ChannelRules], nights: Sequence[str]) -> list[str]:
    """Nights whose packets may tell of the history of objects that were taken in `nights`, oldest first."""
    days = max((one.history_days for one in rules), default=0)
    if not days or not nights:
        return []
    # By the clock a history may begin in the evening before, which another night begins with.
    first = date.fromisoformat(min(nights)) - timedelta(days=days + 1)
    return nights_between(first.isoformat(), max(nights))
