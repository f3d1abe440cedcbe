"""Who takes part: the partners that a coordinator has enrolled, one file each, and those it has turned away.

`partners/NAME.json` is the enrolment that the partner signed. A partner that is turned away has its file under
`partners/revoked/`: its name and its keys are not taken again, for good. A node key that was lost has its enrolment
under `partners/node-keys/`: that key is not taken again, and the partner comes back with another.
"""

from __future__ import annotations

from pathlib import Path

from federation.deployment.exchange import Enrolment
from federation.errors import InputError
from federation.journal import PartnerEnrolled, PartnerRevoked
from federation.private_files import replace_private, sync_folder
from server.coordinator import CoordinatorHome


class Enrolled:
    """The register of a coordinator's home."""

    def __init__(self, home: CoordinatorHome) -> None:
        self._home, self.folder = home, home.path / "partners"

    def partners(self) -> tuple[Enrolment, ...]:
        """Everybody who is enrolled, by name.

        Raises:
            InputError: if a file was changed.
        """
        found = []
        for path in sorted(self.folder.glob("*.json")):
            found.append(Enrolment.read(path))
            if path.stem != found[-1].entry.name:
                raise InputError(str(path), f"is the enrolment of {found[-1].entry.name}",
                                 remedy="bring the folder back from a backup")
        return tuple(found)

    def revoked(self) -> tuple[Enrolment, ...]:
        """Everybody who was turned away, by name."""
        return self._set_aside("revoked")

    def given_up(self) -> tuple[Enrolment, ...]:
        """Enrolments whose node key was shut out or replaced, by name."""
        return self._set_aside("node-keys")

    def _set_aside(self, folder: str) -> tuple[Enrolment, ...]:
        return tuple(Enrolment.read(path) for path in sorted((self.folder / folder).glob("*.json")))

    def enrol(self, enrolment: Enrolment, *, key: str) -> bool:
        """Take a partner in.

        Args:
            enrolment: as its file was read.
            key: the partner's public key, or the first sixteen digits or more of it, as the partner told them to you.

        Returns:
            False, if it was enrolled in just this way before.

        Raises:
            InputError: if the key is another, or the name or one of the keys is taken, or was revoked.
        """
        entry = enrolment.entry
        if len(key) < 16 or not entry.public_key.startswith(key.lower()):
            # Without the file's own digits: whoever copied them from here would have checked nothing.
            raise InputError("--key", "is not how the key in the file begins",
                             bound="at least 16 digits, as the partner reads them to you by telephone",
                             remedy="do not enrol this file unless the partner confirms its key")
        path = self.folder / f"{entry.name}.json"
        if enrolment in self.partners():
            return False
        for other in (*self.partners(), *self.revoked(), *self.given_up()):
            same = [word for word, found in (
                ("name", other.entry.name == entry.name and other.entry.public_key != entry.public_key),
                ("key", other.entry.name != entry.name and other.entry.public_key == entry.public_key),
                ("node key", other.entry.name != entry.name and other.node_key == enrolment.node_key)) if found]
            if same:
                raise InputError(entry.name, f"the {same[0]} is that of {other.entry.name}, who is enrolled or was",
                                 remedy="ask the partner for another name or to join with a home of its own")
        if any(other.entry.public_key == entry.public_key for other in self.revoked()):
            raise InputError(entry.name, "was turned away for good: its identity key was revoked",
                             remedy="do not enrol it. If it may take part again, have it make a new home under another "
                                    "name, and telephone about the new key")
        if any(other.node_key == enrolment.node_key for other in self.given_up()):
            raise InputError(entry.name, "its node key was given up", remedy="have the partner run `leelight partner "
                             "join --new-key` and send the new file")
        self.folder.mkdir(mode=0o700, exist_ok=True)
        for other in self.partners():
            if other.entry.name == entry.name and other.node_key != enrolment.node_key:
                replace_private(self._unused("node-keys", entry.name), other.to_text())
        self._home.journal().append(PartnerEnrolled(partner=entry.name, public_key=entry.public_key))
        replace_private(path, enrolment.to_text())
        return True

    def revoke(self, name: str, *, node_key_only: bool = False) -> Enrolment:
        """Turn a partner away: its node is let in no more.

        Args:
            name: the partner's.
            node_key_only: not for good: it may be enrolled again as itself, with another node key.

        Raises:
            InputError: if nobody of that name is enrolled.
        """
        partners = {one.entry.name: one for one in self.partners()}
        if name not in partners:
            raise InputError(name, "is not enrolled", bound=", ".join(partners) or "nobody",
                             remedy="give one of these names")
        path, found = self.folder / f"{name}.json", partners[name]
        self._home.journal().append(PartnerRevoked(partner=name, public_key=found.entry.public_key))
        path.replace(self._unused("node-keys" if node_key_only else "revoked", name))
        sync_folder(self.folder)
        return found

    def _unused(self, folder: str, name: str) -> Path:
        """A new file in a folder beside the register."""
        (self.folder / folder).mkdir(mode=0o700, exist_ok=True)
        number = 1
        while (path := self.folder / folder / f"{name}.{number}.json").exists():
            number += 1
        return path
