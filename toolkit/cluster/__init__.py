"""Jobs on several machines. Only `ray_engine` imports Ray; the jobs do not depend on it."""

from __future__ import annotations

import os

__all__ = ()

# Ray reads this when it is imported. If an actor does not answer, a call waits this many
# milliseconds for the report that the actor is dead, and then ends. A replica is asked after that.
os.environ.setdefault("RAY_timeout_ms_task_wait_for_death_info", "100")
