"""The app bundle: the code that a coordinator sends to the nodes, made anew from what is installed, byte for byte.

A coordinator's SuperLink ships this bundle with a study, and a partner's gate lets no other through than the one that
the partner approved: by default the bundle that the partner's own installation gives. Both make it with the function
below, so equal software gives an equal hash, on any machine.

What goes in is a fixed list of kinds of files of three packages; nothing of a user's folders is ever looked at.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import tomli_w

from federation.errors import InputError

PATTERNS: Final = {"clients": ("**/*.py", "**/*.yaml"), "federation": ("**/*.py",), "server": ("**/*.py",)}
"""What goes in of each package."""
PLAN_KEY: Final = "plan"
"""The only key of the run configuration. It holds the signed plan."""


def project() -> dict[str, Any]:
    """The bundle's `pyproject.toml`."""
    return {
        "project": {"name": "leelight", "version": version("leelight"), "license": "Apache-2.0",
                    "description": "A node's and a coordinator's part in a Leelight study."},
        "tool": {"flwr": {"app": {
            "publisher": "leelight",
            "fab-include": [f"{package}/{pattern}" for package, patterns in PATTERNS.items()
                            for pattern in patterns],
            "components": {"serverapp": "server.app:app", "clientapp": "clients.app:app"},
            "config": {PLAN_KEY: ""}}}},
    }


def app_files() -> dict[str, bytes]:
    """What the bundle is made of, by path: the installed code and a project file.

    Raises:
        InputError: if the installation is not whole.
    """
    files = {"pyproject.toml": tomli_w.dumps(project()).encode()}
    for package, patterns in PATTERNS.items():
        root = _root(package)
        found = sorted({path for pattern in patterns for path in root.glob(pattern) if path.is_file()})
        files |= {f"{package}/{path.relative_to(root).as_posix()}": path.read_bytes() for path in found
                  if "__pycache__" not in path.parts}
    return files


def build_bundle() -> bytes:
    """The bundle as a file, the same bytes wherever the same software is installed.

    Raises:
        InputError: if it cannot be made.
    """
    # Imported here, as Flower's command line takes long.
    from flwr.cli.build import build_fab_from_files

    try:
        return build_fab_from_files(dict(app_files()))[0]
    except ValueError as error:
        raise InputError("bundle", str(error).splitlines()[0], remedy="install leelight anew") from None


def sha256_of(bundle: bytes) -> str:
    """The hash by which Flower, a partner's gate and an approval know a bundle."""
    return hashlib.sha256(bundle).hexdigest()


@lru_cache(maxsize=1)
def installed_bundle_sha256() -> str:
    """Hash of the bundle of the software that runs this. Kept, as installed code does not change under a process."""
    return sha256_of(build_bundle())


def _root(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(package, "is not installed", remedy="install leelight anew")
    return Path(next(iter(spec.submodule_search_locations)))
