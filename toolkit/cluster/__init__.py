"""Jobs on several machines. Only `ray_engine` imports Ray, and the jobs do not know of it."""

from __future__ import annotations

import os

__all__ = ()

# Ray reads this when it is imported: milliseconds for which a call to an actor that does not answer
# waits for the news that it is dead, before the call ends. A replica is asked after that.
os.environ.setdefault("RAY_timeout_ms_task_wait_for_death_info", "100")
