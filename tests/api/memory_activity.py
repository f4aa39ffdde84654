"""What happened, in memory: the port `Activity` of `tests.api.memory`."""

from hegemon.cluster.ports import ActivityEvent, ActivityFilter, ActivityPage
from hegemon.monitoring.activity_feed import NodeFeed
from hegemon.queue.errors import StoreUnavailable


class MemoryActivity:
    """`Activity` over a list. `away`: the store that all share does not answer."""

    def __init__(self, events: list[ActivityEvent]) -> None:
        self.events = events
        self.away = False
        self.pages = 0
        self.feed = NodeFeed(self)

    async def page(self, which: ActivityFilter, *, limit: int, after: int | None) -> ActivityPage:
        """See the port."""
        self.pages += 1
        if self.away:
            raise StoreUnavailable("MongoDB", "it is away")
        placed = [event for event in self.events if event.place is not None]
        found = [event for event in placed if which.shows(event) and (event.place or 0) > (after or 0)]
        page = found[:limit] if after is not None else found[-limit:]
        last = page if len(page) == limit and after is not None else placed
        return ActivityPage(page, max((event.place or 0 for event in last), default=0) or None)

    def own(self, which: ActivityFilter, *, limit: int, after: int | None, missing: list[str]) -> ActivityPage:
        """See the port."""
        mine = [
            event for event in self.events if event.node == "n1" and (event.place is None or event.place > (after or 0))
        ]
        return ActivityPage([event for event in mine if which.shows(event)][-limit:], after, False, missing)
