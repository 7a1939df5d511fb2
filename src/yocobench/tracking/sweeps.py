"""One run above all cells of a Hydra sweep, so that the UI folds them into one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yocobench.tracking import query

if TYPE_CHECKING:
    from yocobench.tracking.store import Store

NOTE = "One Hydra sweep (`-m`) or one tuning, its runs below it. Compare them: select, then Compare."


def parent(store: Store, sweep: str, start_ms: int, end_ms: int) -> str:
    """Id of the sweep's run, made by whichever job comes first. It spans all of its cells in time.

    Call it under the store's lock: jobs of a parallel sweep (joblib, submitit) end at the same moment.
    """
    assert '"' not in sweep, sweep
    found = query.latest(store, f'tags.level = "sweep" AND tags.sweep = "{sweep}"')
    if found is None:
        tags = {"level": "sweep", "sweep": sweep, "mlflow.note.content": NOTE}
        run = store.client.create_run(store.experiment_id, start_time=start_ms, tags=tags, run_name=f"sweep {sweep}")
        run_id = str(run.info.run_id)
    else:
        run_id, end_ms = str(found.info.run_id), max(end_ms, found.info.end_time or 0)
    store.client.set_terminated(run_id, "FINISHED", end_ms)
    return run_id
