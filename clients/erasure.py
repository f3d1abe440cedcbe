"""Erasing people or a record from a node's home: records, running totals, rows set aside, features.

The order matters. First the records go, and whoever was erased is listed, in one transaction; what was made from the
records goes after them. So whatever dies in between, they take part in nothing more, and the same erasure again
finishes the rest: it knows them by the list.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from clients import set_aside
from clients.databases import in_words
from clients.erased import person_mark, record_mark
from clients.ingest.mapping import Mapping
from clients.ingest.quarantine import people_of
from clients.node import NodeHome
from clients.pseudonyms import actor_key, check_secret, record_id
from clients.quiet import alone
from clients.series import SeriesBook
from clients.set_aside import RowsFound, Values
from clients.store import RecordStore
from federation.encoders.cache import prune
from federation.errors import InputError
from federation.journal import Erased

STEPS = ("records", "series", "quarantine", "features", "journal")
"""What `on_step` hears when an erasure has come so far."""


def unheard(step: str) -> None:
    """Nobody listens."""
    del step


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Whom or what to erase.

    Attributes:
        keys: pseudonyms of people, or the id of the record (32 hexadecimal digits).
        belongs: whether a row that was set aside is theirs, from its values.
        record: whether it is a record.
    """

    keys: tuple[str, ...]
    belongs: Callable[[Values], bool]
    record: bool = False

    @property
    def marks(self) -> dict[str, str]:
        """What each key is on the erasure list by."""
        return {key: record_mark(UUID(key)) if self.record else person_mark(key) for key in self.keys}

    @classmethod
    def people(cls, home: NodeHome, ids: Sequence[str]) -> Wanted:
        """People by the ids that they have in the partner's own files.

        Raises:
            InputError: if an id is empty, or the home's secret cannot be used. No id is in the message.
        """
        secret = _secret(home)
        try:
            keys = tuple(dict.fromkeys(actor_key(secret, one) for one in ids))
        except ValueError:
            raise InputError("the person's id", "is empty", bound="the id that the person has in your files",
                             remedy="give the id") from None
        return cls.of_keys(keys)

    @classmethod
    def of_keys(cls, keys: tuple[str, ...]) -> Wanted:
        """People by their pseudonyms."""
        some = frozenset(keys)
        return cls(keys=keys, belongs=lambda values: not some.isdisjoint(people_of(values)))

    @classmethod
    def one_record(cls, home: NodeHome, text: str, mapping: Mapping | None) -> Wanted:
        """A record: by the id that its file gives it, with the mapping that the file was taken in with, or by its own.

        Raises:
            InputError: if it is no such id, the mapping names no column with ids, or the secret cannot be used.
        """
        secret, columns = _secret(home), tuple[str, ...]()
        if mapping is None:
            try:
                found = UUID(text.strip())
            except ValueError:
                raise InputError("--record", "is not an id as the store gives it", bound="a UUID, or with --mapping "
                                 "the id that the record has in its file", remedy="add --mapping") from None
        else:
            if mapping.source_id is None or not text.strip():
                raise InputError("--record", "cannot be an id: it is empty, or this mapping reads none",
                                 bound="a value of the mapping's id column", remedy="give the record's own id, a UUID, "
                                 "without --mapping, or erase the person")
            found, columns = record_id(secret, text, namespace=mapping.name), mapping.source_id.columns

        def belongs(values: Values) -> bool:
            return mapping is not None and any(
                isinstance(value := values.get(column), str)
                and record_id(secret, value, namespace=mapping.name) == found for column in columns)

        return cls(keys=(found.hex,), belongs=belongs, record=True)

    def without(self, keys: Collection[str]) -> Wanted:
        """The same but for some people."""
        return self if self.record or not keys else self.of_keys(tuple(key for key in self.keys if key not in keys))


@dataclass(frozen=True, kw_only=True)
class Found:
    """What there is of somebody in a home.

    Attributes:
        records: in the store.
        series: entries in running totals.
        set_aside: rows in quarantine, and those that do not say whose they are.
        unknown: those of whom there is nothing, and who are not on the erasure list either.
    """

    records: int
    series: int
    set_aside: RowsFound
    unknown: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Done:
    """What was erased: records, entries in running totals, rows set aside, and vectors of texts that are no more."""

    records: int
    series: int
    rows: int
    vectors: int


def look(home: NodeHome, wanted: Wanted) -> Found:
    """What there is of somebody. Changes nothing.

    Raises:
        InputError: if the store, the book of series or a file with rows set aside cannot be read, or there is no store.
    """
    with _told(home), _store(home) as store:
        marks, records = wanted.marks, _records(store, wanted)
        listed = store.erased_before(marks.values())
        series = {}
        if home.series_path.is_file():
            with SeriesBook(home.series_path) as book:
                series = book.noted(wanted.keys)
        rows = set_aside.look_for(home.quarantine_dir, wanted.belongs)
        known = {*records, *series, *(key for key, mark in marks.items() if mark in listed),
                 *(wanted.keys if wanted.record and rows.rows else rows.people)}
        return Found(records=sum(records.values()), series=sum(series.values()), set_aside=rows,
                     unknown=tuple(key for key in wanted.keys if key not in known))


def erase(home: NodeHome, wanted: Wanted, *, on_step: Callable[[str], None] = unheard) -> Done:
    """Erase people or a record, and list them, so that they do not come back with the next file.

    When this returns, no byte of them is in any file of the home but the list, and the journal says that somebody was
    erased. A request that is being answered, and a file that is being taken in, are waited for.

    Raises:
        InputError: if something cannot be read or written, or is held for too long. The same again finishes what was
            begun. If it is the journal alone, everything is erased, and the message says so.
    """
    secret = _secret(home)
    with _told(home), alone(home), _store(home) as store:
        records = (store.erasure.record(UUID(wanted.keys[0])) if wanted.record
                   else store.erasure.people(wanted.keys))
        on_step("records")
        series = 0
        if home.series_path.is_file():
            with SeriesBook(home.series_path) as book:
                series = book.forget(*wanted.keys)
        on_step("series")
        rows = set_aside.take_out(home.quarantine_dir, wanted.belongs)
        on_step("quarantine")
        vectors = prune(home.cache_dir, key=secret, texts=store.texts(date.min))
        on_step("features")
    _note(home)
    on_step("journal")
    return Done(records=records, series=series, rows=rows, vectors=vectors)


def erase_everybody(home: NodeHome) -> Done:
    """Erase all records and everything that was made from them. Nobody is listed, and the list stays.

    Raises:
        InputError: as `erase`.
    """
    secret = _secret(home)
    with _told(home), alone(home), _store(home) as store:
        records, series = store.erasure.everything(), 0
        if home.series_path.is_file():
            with SeriesBook(home.series_path) as book:
                series = book.forget_all()
        done = Done(records=records, series=series, rows=set_aside.clear_out(home.quarantine_dir),
                    vectors=prune(home.cache_dir, key=secret, texts=()))
    _note(home)
    return done


def allow_again(home: NodeHome, wanted: Wanted) -> int:
    """Take people or a record off the erasure list. Returns how many were on it.

    Raises:
        InputError: if there is no store, or it cannot be written.
    """
    with _told(home), _store(home) as store:
        return store.erasure.allow_again(wanted.marks.values())


def _records(store: RecordStore, wanted: Wanted) -> dict[str, int]:
    if wanted.record:
        return {key: 1 for key in wanted.keys if UUID(key) in store}
    return store.present(wanted.keys)


def _note(home: NodeHome) -> None:
    try:
        home.journal().append(Erased())
    except InputError as error:
        raise InputError(error.name, f"{error.problem}. Everything is erased all the same, and the journal does not "
                         "hold it", remedy=error.remedy) from None


def _secret(home: NodeHome) -> bytes:
    secret = home.person_secret()
    check_secret(secret, str(home.path / "person.secret"))
    return secret


@contextmanager
def _store(home: NodeHome) -> Iterator[RecordStore]:
    if not home.store_path.is_file():
        raise InputError(str(home.store_path), "is not there: no file was taken in here yet, or it was moved away",
                         remedy="check --home")
    with RecordStore(home.store_path) as store:
        yield store


@contextmanager
def _told(home: NodeHome) -> Iterator[None]:
    """Turn what disk and database complain about into words."""
    try:
        with in_words(home.store_path):
            yield
    except OSError as error:
        raise InputError(error.filename or str(home.path), f"cannot be read or written ({error.strerror})",
                         remedy="make room on the disk, check the folder's permissions, and do it again") from None
