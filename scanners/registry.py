"""Which protocol is spoken by what: the one list of engines.

Rules of this file: one line a protocol; what is not in the list is refused by name, and only if it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from policy.address import Address
from policy.model import Policy
from policy.model.antivirus import Antivirus as Section
from policy.model.antivirus import AnyAntivirus, Auto, Builtin, ClamavFile, ClamavNet, DrwebFile, DrwebNet, Icap
from policy.model.stores import Cache as CacheTerms
from scanners.antivirus import Antivirus, RealEngineMissing
from scanners.auto import AutoPool, find_places
from scanners.builtin.compilation import compile_rules
from scanners.builtin.engine import Builtin as BuiltinEngine
from scanners.builtin.engine import read_hashes
from scanners.cache import VerdictCache
from scanners.clamd.file import ClamavFile as ClamdFileEngine
from scanners.clamd.net import ClamavNet as ClamdEngine
from scanners.clamd.net import Transport
from scanners.comm_dir import CommDir
from scanners.drweb.file import DrwebFile as DrwebFileEngine
from scanners.drweb.net import DrwebNet as DrwebNetEngine
from scanners.endpoint import Endpoint, Terms
from scanners.icap.net import Icap as IcapEngine
from scanners.icap.tls import make_context
from scanners.pool import Pool
from scanners.valkey_cache import ValkeyStore
from scanners.valkey_client import connect
from scanners.verdict_scope import name_scope


class EngineUnusable(ValueError):
    """A section cannot be opened. The text is for the administrator and names the section."""


class EngineNotBuilt(EngineUnusable):
    """The policy uses a protocol that this version does not speak yet."""


def open_antivirus(policy: Policy, names: Iterable[str]) -> dict[str, Antivirus]:
    """The named sections, each once, not started yet. Nothing is contacted here.

    Raises EngineUnusable (EngineNotBuilt among them), and RealEngineMissing where `require-real-engine` is set
    and only `builtin` is used: ValueErrors both, with a text for the administrator."""
    cache = _open_cache(policy.cache)
    opened = {
        name: _open(name, policy.antivirus[name], cache, require_real=policy.require_real_engine)
        for name in dict.fromkeys(names)
    }
    real = [name for name in opened if policy.antivirus[name].protocol != "builtin"]
    if policy.require_real_engine and opened and not real:
        raise RealEngineMissing("require-real-engine is set, but only the built-in engine is used")
    return opened


def _open_cache(terms: CacheTerms) -> VerdictCache | None:
    """One for all sections that are opened together: a policy that is loaded anew begins with an empty one."""
    if terms.free <= 0 and terms.found <= 0:
        return None
    try:
        shared = ValkeyStore(connect(terms.valkey)) if terms.valkey is not None else None
    except ValueError as why:
        raise EngineUnusable(str(why)) from why
    return VerdictCache(free=terms.free, found=terms.found, entries=terms.entries, shared=shared)


def _open(name: str, section: AnyAntivirus, cache: VerdictCache | None, *, require_real: bool) -> Antivirus:
    factory = _FACTORIES.get(section.protocol)
    if factory is None:
        known = ", ".join(sorted(_FACTORIES))
        problem = f"protocol {section.protocol} is not built yet; this version speaks {known}"
        raise EngineNotBuilt(f"antivirus {name}: {problem}")
    try:
        pool = factory(section)
        scope = name_scope(name, section)
    except (OSError, ValueError) as why:
        raise EngineUnusable(f"antivirus {name}: {why}") from why
    return Antivirus(
        name,
        pool,
        timeout=section.timeout,
        max_checked_size=section.max_checked_size,
        require_real=require_real and section.protocol != "builtin",
        cache=cache.section(scope) if cache is not None else None,
    )


def _open_clamav_net(section: ClamavNet) -> Pool:
    return Pool([_clamd_endpoint(section, address, section.transport) for address in section.address])


def _open_clamav_file(section: ClamavFile) -> Pool:
    engines = [ClamdFileEngine(address, _comm_dir(section)) for address in section.address]
    return Pool([Endpoint([engine], _terms(section)) for engine in engines])


def _open_drweb_net(section: DrwebNet) -> Pool:
    return Pool([Endpoint([DrwebNetEngine(address)], _terms(section)) for address in section.address])


def _open_drweb_file(section: DrwebFile) -> Pool:
    engines = [DrwebFileEngine(address, _comm_dir(section)) for address in section.address]
    return Pool([Endpoint([engine], _terms(section)) for engine in engines])


def _open_icap(section: Icap) -> Pool:
    tls = make_context(section.tls.ca, verify=section.tls.verify) if section.tls is not None else None
    pure = section.icap_pass_200_with_pure_body
    engines = [IcapEngine(address, section.uri, tls=tls, pure_body=pure) for address in section.address]
    return Pool([Endpoint([engine], _terms(section)) for engine in engines])


def _open_builtin(section: Builtin) -> Pool:
    hashes = read_hashes(section.hashes) if section.hashes is not None else None
    rules = compile_rules(section.yara_rules) if section.yara_rules is not None else None
    return Pool([Endpoint([BuiltinEngine(hashes, rules)], _terms(section))])


def _open_auto(section: Auto) -> Pool:
    builtin = Endpoint([BuiltinEngine()], _terms(section))
    return AutoPool(find_places(), lambda place: _clamd_endpoint(section, place, "auto"), builtin)


def _clamd_endpoint(section: Section, address: Address, transport: str) -> Endpoint:
    if transport != "auto":
        roads = [Transport(transport)]
    elif address.unix is not None:
        roads = [Transport.FILDES, Transport.INSTREAM]
    else:
        roads = [Transport.INSTREAM]
    return Endpoint([ClamdEngine(address, road) for road in roads], _terms(section))


def _comm_dir(section: ClamavFile | DrwebFile) -> CommDir:
    """One an engine: each is closed by its own."""
    return CommDir(section.comm_dir, section.path_map)


def _terms(section: Section) -> Terms:
    return Terms(
        max_checked_size=section.max_checked_size,
        timeout=section.timeout,
        canary=section.canary,
        concurrency=section.concurrency,
    )


_FACTORIES: dict[str, Callable[..., Pool]] = {
    "clamav-net": _open_clamav_net,
    "clamav-file": _open_clamav_file,
    "drweb-net": _open_drweb_net,
    "drweb-file": _open_drweb_file,
    "icap": _open_icap,
    "builtin": _open_builtin,
    "auto": _open_auto,
}
