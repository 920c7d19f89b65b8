"""The anchor: a few numbers in the shared directory that tell a ledger of today from one of yesterday."""

from pydantic import ValidationError

from reconciler.model.json import canonical
from reconciler.model.ledger import Ledger
from reconciler.model.spec import Strict
from reconciler.record.journal import Fault, LedgerFault
from reconciler.remote.files import Files

ANCHOR_PATH = ".rayops/site.json"


class Anchor(Strict):
    """How far the ledger of a site had come when it was last anchored."""

    site: str
    sequence: int
    term: int


def anchor_of(ledger: Ledger) -> Anchor:
    """Return what the shared directory shall say about `ledger`."""
    return Anchor(site=ledger.meta.site, sequence=ledger.sequence, term=ledger.meta.term)


def read_anchor(shared: Files) -> Anchor | LedgerFault | None:
    """Return the anchor, what is wrong with it, or None when there is proven to be none."""
    data = shared.read(ANCHOR_PATH, limit=4096)
    if data is None:
        return None
    try:
        return Anchor.model_validate_json(data)
    except ValidationError:
        return LedgerFault(
            Fault.CORRUPT,
            f"{ANCHOR_PATH} in the shared directory is not an anchor",
            "find out who wrote it, then run `rayops recover`",
        )


def write_anchor(shared: Files, anchor: Anchor) -> None:
    """Replace the anchor."""
    shared.write(ANCHOR_PATH, canonical(anchor.model_dump()) + b"\n")


def compare(ledger: Ledger, anchor: Anchor | None) -> LedgerFault | None:
    """Say why a ledger cannot be the one that was anchored last, or None when it can."""
    if anchor is None:
        # Nothing was ever done with a ledger of sequence 0: it may have been made a moment ago.
        return None if ledger.sequence == 0 else _NO_ANCHOR
    if anchor.site != ledger.meta.site:
        return LedgerFault(
            Fault.OTHER_SITE,
            f"the shared directory belongs to site {anchor.site}, the ledger to site {ledger.meta.site}",
            "correct the configured directories: two sites cannot share one",
        )
    if ledger.sequence < anchor.sequence or ledger.meta.term < anchor.term:
        return LedgerFault(
            Fault.OLDER_THAN_WORLD,
            f"the ledger ends at entry {ledger.sequence}, but entry {anchor.sequence} was already in force",
            "put the newest state directory back, or run `rayops recover`",
        )
    return None


_NO_ANCHOR = LedgerFault(
    Fault.NO_ANCHOR,
    f"the ledger is in use, but {ANCHOR_PATH} is not in the shared directory",
    "check that the shared directory is mounted; if the file was deleted, run `rayops recover`",
)
