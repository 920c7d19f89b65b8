"""Settings of one installation, read once from `rayops.toml`; the only reader of the environment."""

import dataclasses
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from reconciler.model.duration import read_duration

if TYPE_CHECKING:  # it brings pydantic with it, which the reading verbs must not load
    from reconciler.model.world import Tuning

USUAL_FILES = (Path("rayops.toml"), Path("/etc/rayops/rayops.toml"))

Section = TypeVar("Section")
Amount = TypeVar("Amount", int, timedelta)


class Misconfigured(Exception):
    """The settings cannot be used; each line of the text says where, why and what to do."""


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """Where desired state comes from: a Git remote or a directory."""

    url: str | None = None
    directory: Path | None = None
    branch: str = "main"
    path: str = ""
    # Looking at a remote costs a connection; what is local is cheap to look at.
    poll: timedelta = timedelta(seconds=15)
    ssh_key: Path | None = None
    known_hosts: Path | None = None
    token_file: Path | None = None
    allow_http: bool = False
    max_files: int = 200_000
    timeout: timedelta = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class PathSettings:
    """The daemon's own directory, the shared directory, and where status goes."""

    state: Path
    shared: Path
    status: Path = Path()  # `status` in the shared directory, unless named


@dataclass(frozen=True, slots=True)
class MachineSettings:
    """How machines are reached. `python` and `node_dir` are theirs, so they stay text."""

    transport: Literal["ssh", "local"] = "ssh"
    python: str = "python3"
    node_dir: str = "~/.rayops"
    ssh_key: Path | None = None
    known_hosts: Path | None = None
    connect_timeout: timedelta = timedelta(seconds=5)
    call_timeout: timedelta = timedelta(seconds=60)
    parallel: int = 32


@dataclass(frozen=True, slots=True)
class RaySettings:
    """How Ray is talked to. `interpreters` names, by cluster, a Python here that has its version."""

    interpreters: Mapping[str, str] = field(default_factory=dict)
    request_timeout: timedelta = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class DaemonSettings:
    """When the daemon looks again although nothing called it, and how it logs."""

    resync: timedelta = timedelta(seconds=2)
    heartbeat: timedelta = timedelta(seconds=10)
    log: Literal["text", "json"] = "text"


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the operator of one installation decides."""

    file: Path
    source: SourceSettings
    paths: PathSettings
    machines: MachineSettings
    ray: RaySettings
    daemon: DaemonSettings
    tuning: "Tuning"


@dataclass(frozen=True, slots=True)
class Places:
    """What the reading verbs need: the status directory and, for logs, the shared one."""

    status: Path | None = None
    shared: Path | None = None


@dataclass(frozen=True, slots=True)
class Environment:
    """What RayOps takes from the environment of its process, and nothing else."""

    config: str = ""
    status: str = ""
    no_color: bool = False
    dumb: bool = False
    fail_points: str = ""


def environment() -> Environment:
    """Return the environment of this process."""
    return Environment(
        config=os.environ.get("RAYOPS_CONFIG", ""),
        status=os.environ.get("RAYOPS_STATUS", ""),
        no_color=bool(os.environ.get("NO_COLOR")),  # no-color.org: set and not empty, whatever it says
        dumb=os.environ.get("TERM") == "dumb",
        fail_points=os.environ.get("RAYOPS_FAIL_POINTS", ""),
    )


def find(named: str, around: Environment) -> Path | None:
    """Return the settings file: the one named on the command line or in the environment, else one that is there."""
    if name := named or around.config:
        if Path(name).is_file():
            return Path(name)
        raise Misconfigured(f"{name}: there is no such settings file (check --config and RAYOPS_CONFIG)")
    return next((file for file in USUAL_FILES if file.is_file()), None)


def read_settings(file: Path) -> Settings:
    """Return all settings in `file`; raises Misconfigured with every mistake in it."""
    from reconciler.model.world import Tuning

    reading = _Reading.of(file)
    reading.refuse_unknown_sections()
    reading.complete_source()
    source = reading.section("source", SourceSettings)
    paths = reading.section("paths", PathSettings)
    machines = reading.section("machines", MachineSettings)
    ray = reading.section("ray", RaySettings)
    daemon = reading.section("daemon", DaemonSettings)
    tuning = reading.section("tuning", Tuning)
    if reading.problems or not (source and paths and machines and ray and daemon and tuning):
        raise Misconfigured("\n".join(reading.problems))
    return Settings(file, source, paths, machines, ray, daemon, tuning)


def read_places(file: Path) -> Places:
    """Return where status and shared files are; mistakes in other sections do not keep a reader from reading."""
    values = (reading := _Reading.of(file)).values("paths", PathSettings)
    if reading.problems:
        raise Misconfigured("\n".join(reading.problems))
    return Places(values.get("status"), values.get("shared"))


def nearest(word: str, known: list[str]) -> str:
    """Return `did you mean ...?` when a known word is close, else the known words themselves."""
    from difflib import get_close_matches  # slow to load, and needed for mistakes only

    close = get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else f"one of: {', '.join(sorted(known))}"


@dataclass(frozen=True)
class _Reading:
    """One settings file while it is read; `problems` collects what is wrong, so that people see it all at once."""

    file: Path
    document: dict[str, Any]
    lines: Mapping[str, int]
    problems: list[str]

    @classmethod
    def of(cls, file: Path) -> "_Reading":
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise Misconfigured(f"{file}: cannot be read: {why}") from error
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            place = re.search(r" \(at line ([0-9]+), column ([0-9]+)\)", str(error))
            where = f"{file}:{place[1]}:{place[2]}" if place else f"{file}"
            raise Misconfigured(f"{where}: not TOML: {str(error).partition(' (at ')[0]}") from error
        return cls(file, document, dict(_lines(text)), [])

    def problem(self, name: str, message: str) -> None:
        line = self.lines.get(name) or self.lines.get(name.partition(".")[0])
        self.problems.append(f"{self.file}{f':{line}' if line else ''}: {name}: {message}")

    def table(self, name: str) -> dict[str, Any]:
        if not isinstance(self.document.setdefault(name, {}), dict):
            self.problem(name, f"expected a section: [{name}]")
            self.document[name] = {}
        table: dict[str, Any] = self.document[name]
        return table

    def refuse_unknown_sections(self) -> None:
        known = [each.name for each in dataclasses.fields(Settings) if each.name != "file"]
        for name in sorted(self.document.keys() - set(known)):
            self.problem(name, f"no such section ({nearest(name, known)})")

    def complete_source(self) -> None:
        """Check what two settings of the source must agree on, and set the pace that fits it."""
        table = self.table("source")
        if ("url" in table) == ("directory" in table):
            self.problem("source", "expected either url (a Git remote) or directory")
            return
        url = table.get("url", "")
        if not isinstance(url, str):
            return
        if not re.match(r"(?!file:)([a-z+]+://|[^/]+:)", url):
            table.setdefault("poll", "2s")
        if re.match(r"https?://[^/]*@", url):
            self.problem("source.url", "a URL must not hold a credential (put it into a file and name token_file)")
        if url.startswith("http://") and table.get("allow_http") is not True:
            self.problem("source.url", "http is not encrypted (use https, or set allow_http = true)")

    def section(self, name: str, kind: type[Section]) -> Section | None:
        """Return the section as `kind` says, or None when it cannot be: the problems say why."""
        values = self.values(name, kind)
        missing = _required(kind) - values.keys()
        for key in sorted(missing - self.table(name).keys()):
            self.problem(f"{name}.{key}", "this setting is required")
        return None if missing else kind(**values)

    def values(self, name: str, kind: type) -> dict[str, Any]:
        """Return the settings in one section that are there and right."""
        hints = get_type_hints(kind)
        found: dict[str, Any] = {}
        for key, value in self.table(name).items():
            if key not in hints:
                self.problem(f"{name}.{key}", f"no such setting ({nearest(key, list(hints))})")
                continue
            try:
                found[key] = _read(value, hints[key], self.file.parent)
            except (ValueError, RuntimeError) as error:  # RuntimeError: `~` without a home
                self.problem(f"{name}.{key}", str(error))
        if kind is PathSettings and "shared" in found:
            found.setdefault("status", found["shared"] / "status")
        return found


# No message holds the value itself: it may be a secret in a wrong place.
def _read(value: object, hint: Any, folder: Path) -> Any:
    match value:
        case str() if value in get_args(hint) or hint in {str, str | None}:
            return value
        case bool() if hint is bool:
            return value
        case int() if hint is int and not isinstance(value, bool):
            return _positive(value)
        case str() if hint is timedelta:
            return _positive(read_duration(value))
        case str() if hint in {Path, Path | None}:
            return folder / Path(value).expanduser()
        case dict() if get_origin(hint) is Mapping and all(isinstance(text, str) for text in value.values()):
            return value
    if get_origin(hint) is Literal:
        raise ValueError(f"expected one of: {', '.join(get_args(hint))}")
    raise ValueError(f"expected {_WORDS.get(hint, 'a text')}")


_WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    timedelta: "a length of time such as 90s, 15m or 2h",
    Mapping[str, str]: "a table of texts",
}


def _required(kind: Any) -> set[str]:
    nothing = dataclasses.MISSING
    return {each.name for each in dataclasses.fields(kind) if each.default is nothing is each.default_factory}


def _positive(amount: Amount) -> Amount:
    if not amount or amount < type(amount)():
        raise ValueError("expected more than zero")
    return amount


def _lines(text: str) -> Iterator[tuple[str, int]]:
    """Yield dotted names of settings with their lines. tomllib does not tell; a rare miss costs a line number."""
    section = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[\s*([\w.-]+)\s*\]", line):
            section = header[1]
            yield section, number
        elif key := re.match(r'\s*"?([\w.-]+)"?\s*=', line):
            yield (f"{section}.{key[1]}" if section else key[1]), number
