"""A head whose API misbehaves, by way of a front before its dashboard: nothing is lost, nothing is done twice."""

import pytest

from tests.outages.scene import SILENCE_SECONDS, Scene, Work
from tests.remote.stub_head import Behaviour, drips, hangs_up, keeps_silent, says

pytestmark = pytest.mark.real

PAGE = b"<html><body>It works!</body></html>"
SUBMIT = b"POST /api/jobs/ "

# What the head answers, and what people read about it.
FAULTS: dict[str, tuple[Behaviour, str]] = {
    "500": (says("500 Internal Server Error", b"Traceback (most recent call last)"), "the head answered HTTP 500"),
    "page": (says("200 OK", PAGE, "Content-Type: text/html"), "the answer is not a JSON document"),
    "rubbish": (says("200 OK", b'{"version": [[]]}'), "names no session"),
    "flood": (says("200 OK", b" " * (5 << 20)), "an answer of more than 4194304 bytes"),
    "nothing": (keeps_silent, "no whole answer"),
    "drip": (drips(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000), "no whole answer"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_head_that_answers_wrongly_is_told_and_left_alone(site: Scene, fault: str) -> None:
    behaviour, said = FAULTS[fault]
    before = site.cluster["detail"]["head"]
    with site.head.faulty(behaviour):
        site.site.until("cluster/main", "Silent")
        site.until(lambda: said in site.cluster["message"], said)
        assert "UTC if it stays so" in site.cluster["message"]
        (ready,) = [each for each in site.cluster["conditions"] if each["type"] == "Ready"]
        assert ready["status"] == "False"
        assert ready["lastTransitionTime"] == site.cluster["since"]
        assert site.steady.status["state"] == "Running"
        assert site.steady.status["reason"] == "HeadUnreachable"
    site.site.until("cluster/main", "Ready")
    assert site.cluster["detail"]["head"] == before, "the same head, never fenced"


def test_a_job_that_ends_while_its_head_says_nothing_has_ended(site: Scene) -> None:
    work = Work(site.site, "unheard").begun()
    with site.head.gone():
        site.site.until("cluster/main", "Silent")
        work.ends(seconds=SILENCE_SECONDS)
        assert site.cluster["state"] == "Silent"
    assert work.lives() == ["began 1", "ended 1"]


@pytest.mark.parametrize(
    ("delivers", "behaviour"),
    [(True, hangs_up), (True, says("200 OK", PAGE)), (False, says("400 Bad Request", PAGE))],
    ids=["reply lost", "reply replaced", "request refused"],
)
def test_a_submit_that_nobody_confirms_runs_once(site: Scene, behaviour: Behaviour, *, delivers: bool) -> None:
    work = Work(site.site, f"unsure-{site.head.asked(SUBMIT)}")
    asked = site.head.asked(SUBMIT)
    with site.head.faulty(behaviour, concerns=SUBMIT, delivers=delivers):
        site.site.commit("Add it", work.files())
        site.until(lambda: told(site, work), "the submit was not confirmed")
    work.begins()
    work.ends()
    assert work.lives() == ["began 1", "ended 1"]
    assert len(work.attempts) == 1
    # Where the head had it, looking settled the doubt; where it had not, it was handed over again.
    assert (site.head.asked(SUBMIT) - asked == 1) is delivers


def told(site: Scene, work: Work) -> bool:
    return any(event["type"] in {"Unknown", "NotDone"} for event in site.site.events(work.path))
