"""Take up a run that did not end: which one, and with which instrument table.

Journal records name instruments by index, so a table only ever grows: what the run knew keeps its
index and takes the venue's rules of today; what is new comes after it.
"""

from pathlib import Path

from alephtx.core.config import Config
from alephtx.core.errors import ConfigError
from alephtx.core.instruments import Instruments
from alephtx.core.log import logger
from alephtx.engine.rundir import RunDirectory

log = logger("resume")

KEPT = ("contract", "price_scale", "qty_scale", "settle", "contract_value")
"""What the integers of old records mean; another value means another instrument."""


def unfinished_run(config: Config) -> RunDirectory | None:
    """Return this config's run that did not end, locked for us; ConfigError while it still goes."""
    run = RunDirectory.unfinished(Path(config.node.runs), config.node.name, config.dump())
    if run is not None:
        run.claim()
    return run


def grown(run: RunDirectory, fetched: Instruments) -> Instruments:
    """Return the run's table with today's rules, and what it did not have appended.

    ConfigError where an instrument became another one under the same key.
    """
    if not run.instruments.exists():
        return fetched
    known = run.load_instruments()
    table = Instruments()
    table.currencies = list(known.currencies)
    today = {instrument.key: instrument for instrument in fetched}
    for instrument in known:
        now = today.pop(instrument.key, instrument)
        changed = [name for name in KEPT if getattr(instrument, name) != getattr(now, name)]
        if changed:
            raise ConfigError(
                f"{instrument.key} changed its {', '.join(changed)} since run {run.id} began",
                remedy="stop what that run left open by hand, then start with --fresh",
            )
        table.add(now)
    for instrument in today.values():
        table.add(instrument)
        log.info("instrument_appended", run=run.id, instrument=instrument.key)
    return table
