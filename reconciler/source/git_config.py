"""The configuration of every git command of ours; no other configuration file is read."""

from reconciler.source.location import Location

# On the command line, since it outranks every configuration file, the mirror's own included.
OPTIONS = (
    "core.hooksPath=/dev/null",  # a reference-transaction hook runs at every update of a reference
    "core.fsmonitor=false",  # the value may be a program
    "core.sshCommand=",
    "credential.helper=",  # an empty value clears the list: no helper ever sees the token
    "fetch.fsckObjects=true",
)

# In a file of ours: the upload-pack child of a local remote sees nothing else, and GitPython searches every
# argument of every command for passwords.
_SECTIONS = (
    ("transfer", "fsckObjects = true", "bundleURI = false"),
    # index-pack streams to the disk; unpack-objects, for small packs, keeps every object in memory.
    ("fetch", "unpackLimit = 1", "recurseSubmodules = false"),
    # Larger blobs are streamed, so that one blob cannot take the memory.
    ("core", "bigFileThreshold = 4m"),
    ("pack", "threads = 1"),
    ("gc", "auto = 0"),
    ("maintenance", "auto = false"),
    # A redirect would carry the token to another host.
    ("http", "followRedirects = false", "lowSpeedLimit = 100", "lowSpeedTime = 30"),
    ("protocol", "version = 2"),
)

# What git's check of fetched objects refuses for the sake of those who check out, run submodules or print authors.
# We do none of it, leave such names out ourselves (tree.py, entries.py), and read only trees, blobs and parents. As
# an error any of these, once in the history, would hold up the whole site until somebody rewrites it.
_HARMLESS = (
    "gitmodulesBlob gitmodulesLarge gitmodulesMissing gitmodulesName gitmodulesParse gitmodulesPath",
    "gitmodulesSymlink gitmodulesUpdate gitmodulesUrl",
    "gitattributesBlob gitattributesLarge gitattributesLineLength gitattributesMissing",
    "hasDot hasDotdot hasDotgit fullPathname badFilemode zeroPaddedFilemode",
    "badDate badDateOverflow badEmail badName badTimezone missingEmail missingNameBeforeEmail",
    "missingSpaceBeforeDate missingSpaceBeforeEmail multipleAuthors nulInCommit zeroPaddedDate",
)


def configuration(location: Location) -> str:
    """Return the text of the configuration file for one remote."""
    lines = [line for name, *settings in _SECTIONS for line in (f"[{name}]", *settings)]
    lines += ['[fetch "fsck"]', *(f"{name} = ignore" for group in _HARMLESS for name in group.split())]
    if location.folder is not None:
        # Git refuses another user's repository; the operator has named this one on purpose, and no other.
        quoted = str(location.folder).replace("\\", "\\\\").replace('"', '\\"')
        lines += ["[safe]", f'directory = "{quoted}"', f'directory = "{quoted}/.git"']
    return "".join(f"{line}\n" for line in lines)
