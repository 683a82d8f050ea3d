"""Jobs on several machines. Only `ray_engine` imports Ray, and the jobs do not know of it."""
