"""What git says and what people are told of it: who is to act, and whether the mirror is built anew."""

from datetime import timedelta

import pytest

from reconciler.model.snapshot import SourceFault
from reconciler.source.child import Ended
from reconciler.source.faults import problem_of

SAID = {
    "fatal: packfile ./objects/pack/pack-1.pack does not match index": SourceFault.CORRUPT,
    "error: file ./objects/pack/pack-1.pack is far too short to be a packfile": SourceFault.CORRUPT,
    "error: index file ./objects/pack/pack-1.idx is too small": SourceFault.CORRUPT,
    "fatal: write error: No space left on device\nfatal: invalid index-pack output": SourceFault.STORAGE,
    "fatal: packfile ./objects/pack/pack-1.pack cannot be mapped: Cannot allocate memory": SourceFault.UNREACHABLE,
    "error: packfile ./objects/pack/pack-1.pack: Too many open files": SourceFault.UNREACHABLE,
    "remote: fatal: packfile x.pack does not match index\nfatal: the remote end hung up": SourceFault.UNREACHABLE,
    "fatal: expected packfile to be sent after 'ready'": SourceFault.UNREACHABLE,
}


@pytest.mark.parametrize("said", SAID)
def test_what_git_says_names_who_is_to_act(said: str) -> None:
    assert problem_of(Ended(128, b"", said), "fetching", timedelta(minutes=1)).fault is SAID[said]
