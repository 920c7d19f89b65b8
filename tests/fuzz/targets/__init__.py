"""All fuzz targets, by name."""

from collections.abc import Mapping

from tests.fuzz.target import Target
from tests.fuzz.targets import answers, documents, gate, headfile, journal, yaml

ALL: Mapping[str, Target] = {
    target.name: target
    for target in (
        *yaml.TARGETS,
        *documents.TARGETS,
        *journal.TARGETS,
        *headfile.TARGETS,
        *gate.TARGETS,
        *answers.TARGETS,
    )
}
