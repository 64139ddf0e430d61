"""What mpmlab knows about names in an httpd.conf: directives, MPM modules, sections.

Tables and questions about them; the directives themselves are directives.py. mpmlab has no table of
all directives of all modules, so a name that is not known here is nobody's mistake by itself.
"""

from __future__ import annotations

from difflib import get_close_matches
from types import MappingProxyType
from typing import Final

from mpmlab.core.directive_table import DIRECTIVES
from mpmlab.core.settings import UNIX_MPMS

#: Accepted under every MPM beside those of `directives.DIRECTIVES`.
_ALSO: Final = ("MaxClients", "MaxRequestsPerChild", "ListenCoresBucketsRatio")

#: Directives of MPMs of other systems: the module that an unguarded one belongs into.
_FOREIGN: Final = MappingProxyType(
    {
        "startthreads": "mpm_netware_module",
        "maxthreads": "mpm_netware_module",
        "maxrequestsperthread": "beos.c",
    }
)

#: Lower case -> (httpd's spelling, MPMs that accept it).
_OURS: Final = MappingProxyType(
    {
        directive.name.lower(): (directive.name, mpms)
        for directive in DIRECTIVES
        if (mpms := tuple(mpm for mpm in directive.mpms if mpm in UNIX_MPMS))
    }
    | {name.lower(): (name, UNIX_MPMS) for name in _ALSO}
)

#: Where else than for the whole server a directive may stand: the rest is refused in every section
#: ("cannot occur within", "not allowed here"). Apache/2.4.71 was asked about each.
_IN_VIRTUAL_HOST: Final = frozenset(
    {"timeout", "keepalive", "keepalivetimeout", "maxkeepaliverequests", "limitrequestline"}
    | {"limitrequestfieldsize", "limitrequestfields", "limitrequestbody", "flushmaxthreshold"}
)
_IN_EVERY_SECTION: Final = frozenset({"limitrequestbody"})

#: How alike two names must be for one to be a slip of the other (difflib's ratio). Of the 739 names
#: that Debian's httpd 2.4.71 has with its modules, one that is not ours is above it.
_ALIKE: Final = 0.88
_NO_SLIP: Final = frozenset({"limitxmlrequestbody"})

#: How httpd calls the MPMs that are known here: identifier and source file.
_MPM_FILES: Final = MappingProxyType({mpm: f"{mpm}.c" for mpm in UNIX_MPMS})
#: All that were ever an MPM of httpd 2.x, for telling what a guard is about.
_MPM_MODULES: Final = frozenset(
    {
        f"mpm_{name}_module"
        for name in (*UNIX_MPMS, "winnt", "netware", "mpmt_os2", "motorz", "simple")
    }
    | {"mpm_winnt.c", "mpm_netware.c", "mpmt_os2.c", "beos.c", "motorz.c", "simple.c"}
    | {"perchild.c", "leader.c", "threadpool.c"}
    | set(_MPM_FILES.values())
)

#: Compiled in wherever httpd is built as its authors or Debian do it (`httpd -l`).
STATIC_MODULES: Final = frozenset(
    {"core.c", "core_module", "http_core.c", "http_module", "mod_so.c", "so_module"}
    | {"mod_watchdog.c", "watchdog_module", "mod_log_config.c", "log_config_module"}
    | {"mod_logio.c", "logio_module", "mod_version.c", "version_module"}
    | {"mod_unixd.c", "unixd_module"}
)

#: Sections of server/core.c and mod_version (Apache/2.4.71 -L).
CORE_SECTIONS: Final = frozenset(
    {"directory", "directorymatch", "files", "filesmatch", "location", "locationmatch"}
    | {"if", "elseif", "else", "limit", "limitexcept", "virtualhost"}
    | {"ifmodule", "ifdefine", "ifdirective", "iffile", "ifsection", "ifversion"}
)
#: Sections whose lines are no directives, or not yet: mod_macro, mod_perl.
_RAW_SECTIONS: Final = frozenset({"macro", "perl"})
#: Those whose names are known well enough to notice a slip.
_SPELLED_SECTIONS: Final = MappingProxyType(
    {
        name.lower(): name
        for name in ("IfModule", "IfDefine", "IfDirective", "IfFile", "IfSection", "IfVersion",
                     "VirtualHost")
    }
)  # fmt: skip


def is_ours(name: str) -> bool:
    """Whether some MPM known here accepts a directive of this name."""
    return name.lower() in _OURS


def accepts(mpm: str, name: str) -> bool:
    """Whether `mpm` accepts it."""
    return name.lower() in _OURS and mpm in _OURS[name.lower()][1]


def guard_for(name: str) -> str | None:
    """The sections that a directive of other MPMs belongs into; None if it is not of an MPM."""
    lower = name.lower()
    if lower in _FOREIGN:
        return f"<IfModule {_FOREIGN[lower]}>"
    if lower in _OURS:
        return " or ".join(f"<IfModule {mpm_identifier(mpm)}>" for mpm in _OURS[lower][1])
    return None


def owners_of(name: str) -> str:
    """Which MPMs have a directive, in words."""
    lower = name.lower()
    return ", ".join(_OURS[lower][1]) if lower in _OURS else "an MPM of another system"


def may_stand_in(section: str, name: str) -> bool:
    """Whether httpd allows a directive of ours inside a section that is no condition."""
    allowed = _IN_VIRTUAL_HOST if section.lower() == "virtualhost" else _IN_EVERY_SECTION
    return name.lower() in allowed


def meant(name: str) -> str | None:
    """The directive of ours that an unknown name is probably a slip of."""
    lower = name.lower()
    if lower in _NO_SLIP:
        return None
    close = get_close_matches(lower, _OURS, n=1, cutoff=_ALIKE)
    return _OURS[close[0]][0] if close else None


def meant_section(name: str) -> str | None:
    """The section that an unknown one is probably a slip of."""
    lower = name.lower()
    if lower in CORE_SECTIONS:
        return None
    close = get_close_matches(lower, _SPELLED_SECTIONS, n=1, cutoff=_ALIKE)
    return _SPELLED_SECTIONS[close[0]] if close else None


def is_raw_section(name: str) -> bool:
    """Whether what stands in it is program text: macros, Perl, inline Lua."""
    return name.lower() in _RAW_SECTIONS or name.lower().startswith("lua")


def mpm_identifier(mpm: str) -> str:
    """ "event" -> "mpm_event_module"."""
    return f"mpm_{mpm}_module"


def mpm_names(mpm: str) -> frozenset[str]:
    """What <IfModule> may call an MPM: its identifier, or its source file (not mpm_event.c)."""
    return frozenset({mpm_identifier(mpm), _MPM_FILES[mpm]})


def is_mpm_module(name: str) -> bool:
    """Whether a module is an MPM, of whatever system."""
    return name in _MPM_MODULES


def mpm_hint(name: str) -> str:
    """What httpd calls an MPM that is named as httpd does not: "" if it is not one."""
    for mpm in UNIX_MPMS:
        if name in (f"mpm_{mpm}.c", f"mod_mpm_{mpm}.c", f"mpm_{mpm}", mpm):
            return f"httpd calls it {mpm_identifier(mpm)} or {_MPM_FILES[mpm]}"
    return ""
