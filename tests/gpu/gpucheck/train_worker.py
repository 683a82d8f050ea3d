"""A process that trains, prints its steps and is killed: ``python -m gpucheck.train_worker``.

Arguments: settings file, training settings as JSON, and name of the run.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from gpucheck.product_training import TrainConfig
from gpucheck.settings import Settings
from gpucheck.training import new_trainer, training_data


def main() -> None:
    """Train to the end and print a line for each step."""
    settings = Settings.load(Path(sys.argv[1]))
    config = TrainConfig.from_dict(json.loads(sys.argv[2]))
    trainer = new_trainer(settings, config, training_data(settings, config), sys.argv[3])

    def report() -> bool:
        print(f"step {trainer.step}", flush=True)
        return False

    trainer.fit(should_stop=report)
    print("done", flush=True)


if __name__ == "__main__":
    main()
