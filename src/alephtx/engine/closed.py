"""Accounts that wait for a person, kept with the run: a restart is no person.

`Standing` says why an account takes no new risk. What a person must look at (somebody else's trade,
a position closed by force) is written to `closed-ACCOUNT.json` and taken up again by the next
engine of the run, until somebody lifts it (`alephtx kill --resume`).
"""

from alephtx.engine.rundir import RunDirectory
from alephtx.execution.gateway import Gateway
from alephtx.execution.standing import FOR_A_PERSON


def keep(run: RunDirectory, gateway: Gateway) -> None:
    """Close an account as the engine before left it, and write down what changes from here on."""
    path, standing = run.path / f"closed-{gateway.account}.json", gateway.standing
    for reason, what in (run.read_as(path, dict[str, str]) or {}).items():
        if reason in FOR_A_PERSON:
            standing.block(reason, what)

    def write() -> None:
        reasons = standing.reasons
        kept = {reason: reasons[reason] for reason in FOR_A_PERSON if reason in reasons}
        run.show_json(path, kept)  # on a full disk it stands in this process all the same

    standing.on_kept = write
