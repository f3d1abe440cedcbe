"""What travels between coordinator and node: a few small message types on Flower's Message API.

A request names the plan by hash, the round, and a nonce; a reply holds a fixed code and, if that is `ok`, arrays, under
the partner's signature (`federation.signed_replies`). There is no field for a count, a metric or a text, so none can be
sent by mistake.

| message type  | request                 | reply                            |
|---------------|-------------------------|----------------------------------|
| `query.hello` | plan hash               | partner's name                   |
| `train`       | plan hash, round, model | model                            |
| `query.table` | plan hash, model        | noisy int64 vector of all tables |

Where a part of the plan is summed securely, five others take the place of `train` or `query.table`: `query.keys`,
`query.shares`, `query.masked`, `query.survivors` and `query.unmask`. Their requests name the round, the sum and the
attempt, and with `query.masked` comes the model; what else they and their replies hold is a message of
`federation.secagg`.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from flwr.app import ConfigRecord, Message, RecordDict
from safetensors.numpy import load, save

from federation.errors import Refusal, RefusalCode
from federation.grid import MAX_WEIGHT
from federation.packing import pack, unpack

HELLO: Final = "query.hello"
TRAIN: Final = "train"
TABLE: Final = "query.table"
OK: Final = "ok"

_HEX32 = re.compile(r"[0-9a-f]{64}")
_NONCE = re.compile(r"[0-9a-f]{32}")
_SIGNATURE = re.compile(r"([0-9a-f]{128})?")

Arrays = dict[str, npt.NDArray[np.float32]]
"""A model's weights by parameter name."""


def new_nonce() -> str:
    """32 hexadecimal digits from the operating system, never the same again."""
    return secrets.token_hex(16)


@dataclass(frozen=True, kw_only=True)
class SumRequest:
    """Which session of secure aggregation a request belongs to, and what it relays to this partner.

    Attributes:
        purpose: what is summed, a `federation.secure.Purpose`.
        attempt: the coordinator's number for this try.
        model_sha256: `request_sha256` of the model asked about, the same for everybody and from the first exchange on.
        payload: a message of `federation.secagg`; empty in the first exchange.
    """

    purpose: str
    attempt: int
    model_sha256: str
    payload: bytes = b""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the coordinator asks. `round_number` is 0 outside training and sums.

    The nonce ties a reply to this question. It is no part of what is asked: the same question under another nonce is
    answered, and charged, as the same.
    """

    plan_sha256: str
    round_number: int
    nonce: str = field(default_factory=new_nonce)
    arrays: Arrays | None = None
    sum: SumRequest | None = None


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a node answers: a code, and on `ok` what was asked for. The signature is empty where there is none."""

    code: str
    partner: str = ""
    arrays: Arrays | None = None
    table: npt.NDArray[np.int64] | None = None
    payload: bytes | None = None
    signature: str = ""


def request_content(request: Request) -> RecordDict:
    """Pack a request."""
    content = RecordDict({"request": ConfigRecord(
        {"plan_sha256": request.plan_sha256, "round": request.round_number, "nonce": request.nonce})})
    if request.arrays is not None:
        content["arrays"] = pack(request.arrays)
    if request.sum is not None:
        content["sum"] = ConfigRecord({"purpose": request.sum.purpose, "attempt": request.sum.attempt,
                                       "model_sha256": request.sum.model_sha256, "payload": request.sum.payload})
    return content


def read_request(message: Message) -> Request:
    """Unpack a request.

    Raises:
        Refusal: `bad_request`, if it is not one.
    """
    head = read_head(message)
    try:
        record = message.content.array_records.get("arrays")
        arrays = None if record is None else unpack(record)
        named = message.content.config_records.get("sum")
    except (KeyError, TypeError, ValueError) as error:
        raise Refusal(RefusalCode.BAD_REQUEST, type(error).__name__) from None
    return replace(head, arrays=arrays, sum=None if named is None else _read_sum(named))


def read_head(message: Message) -> Request:
    """Of a request what a reply is bound to: plan, round and nonce.

    Raises:
        Refusal: `bad_request`, if it has none.
    """
    try:
        head = dict(message.content.config_records["request"])
    except (KeyError, TypeError, ValueError) as error:
        raise Refusal(RefusalCode.BAD_REQUEST, type(error).__name__) from None
    match head:
        # A bool is an int to Python.
        case {"plan_sha256": str(sha256), "round": int(number), "nonce": str(nonce)} if type(number) is int:
            if _HEX32.fullmatch(sha256) and _NONCE.fullmatch(nonce):
                return Request(plan_sha256=sha256, round_number=number, nonce=nonce)
    raise Refusal(RefusalCode.BAD_REQUEST, "the request's fields are missing or have the wrong type")


def _read_sum(record: ConfigRecord) -> SumRequest:
    match dict(record):
        # A bool is an int to Python.
        case {"purpose": str(purpose), "attempt": int(attempt), "model_sha256": str(model_sha256),
              "payload": bytes(payload)} if type(attempt) is int:
            return SumRequest(purpose=purpose, attempt=attempt, model_sha256=model_sha256, payload=payload)
    raise Refusal(RefusalCode.BAD_REQUEST, "the sum's fields are missing or have the wrong type")


def reply_content(reply: Reply) -> RecordDict:
    """Pack a reply."""
    content = RecordDict({"reply": ConfigRecord(
        {"code": reply.code, "partner": reply.partner, "signature": reply.signature})})
    if reply.arrays is not None:
        content["arrays"] = pack(reply.arrays)
    if reply.table is not None:
        content["table"] = pack({"table": reply.table})
    if reply.payload is not None:
        content["payload"] = ConfigRecord({"payload": reply.payload})
    return content


def read_reply(message: Message, *, most_bytes: int | None = None) -> Reply:
    """Unpack a reply; anything malformed, and every error that Flower reports, is a reply with code `failed`.

    Args:
        message: as it arrived.
        most_bytes: that an array or a payload may take. None: as many as are there.
    """
    if message.has_error():
        return Reply(code=RefusalCode.FAILED)
    try:
        return _read_reply(message.content, most_bytes)
    except Exception:  # noqa: BLE001  whatever a node sends, it must not end the study for the others
        return Reply(code=RefusalCode.FAILED)


def _read_reply(content: RecordDict, most_bytes: int | None) -> Reply:
    head = content.config_records["reply"]
    code, partner, signature = head["code"], head["partner"], head["signature"]
    if not (isinstance(code, str) and isinstance(partner, str) and isinstance(signature, str)):
        raise TypeError("a reply's fields have the wrong type")
    if not _SIGNATURE.fullmatch(signature):
        raise ValueError("no signature")
    if code != OK:
        # Only a code of the closed list is shown on; whatever else a node put there is not.
        return Reply(code=RefusalCode(code), partner=partner, signature=signature)
    arrays, table = content.array_records.get("arrays"), content.array_records.get("table")
    relayed = content.config_records.get("payload")
    payload = None if relayed is None else relayed["payload"]
    if not isinstance(payload, bytes | None):
        raise TypeError("payload has the wrong type")
    if payload is not None and most_bytes is not None and len(payload) > most_bytes:
        raise ValueError("payload is too long")
    return Reply(code=OK, partner=partner, signature=signature, payload=payload,
                 arrays=None if arrays is None else unpack(arrays, most_bytes=most_bytes),
                 table=None if table is None else unpack(table, most_bytes=most_bytes)["table"])


def request_sha256(request: Request) -> str:
    """Hash of what makes a request different from another for the same plan, stage and round: the model it holds."""
    digest = hashlib.sha256(request.plan_sha256.encode())
    for name, value in sorted((request.arrays or {}).items()):
        digest.update(f"{name} {value.dtype} {value.shape} ".encode() + value.tobytes())
    return digest.hexdigest()


def reply_bytes(reply: Reply) -> bytes:
    """A reply that is `ok`, as it is kept for whoever asks again (safetensors)."""
    held: dict[str, npt.NDArray[Any]] = {f"arrays/{name}": value for name, value in (reply.arrays or {}).items()}
    if reply.table is not None:
        held["table"] = reply.table
    if reply.payload is not None:
        held["payload"] = np.frombuffer(reply.payload, dtype=np.uint8)
    return save(held)


def reply_from_bytes(data: bytes, partner: str) -> Reply:
    """The reply that `reply_bytes` kept."""
    held = load(data)
    arrays = {name.removeprefix("arrays/"): value for name, value in held.items() if name.startswith("arrays/")}
    payload = held.get("payload")
    return Reply(code=OK, partner=partner, arrays=arrays or None, table=held.get("table"),
                 payload=None if payload is None else payload.tobytes())


def check_arrays(arrays: Arrays | None, like: Arrays) -> Arrays:
    """Return `arrays` if it has the names, shapes and dtypes of `like` and only values of at most `MAX_WEIGHT`.

    Raises:
        ValueError: otherwise. One NaN would pass every norm bound and poison every later round.
    """
    if arrays is None or arrays.keys() != like.keys():
        raise ValueError("arrays: parameter names differ from the plan's model")
    for name, expected in like.items():
        found = arrays[name]
        if found.shape != expected.shape or found.dtype != expected.dtype:
            raise ValueError(f"arrays.{name}: {found.dtype}{list(found.shape)}, expected "
                             f"{expected.dtype}{list(expected.shape)}")
        # Written so that NaN fails it.
        if not (np.abs(found) <= MAX_WEIGHT).all():
            raise ValueError(f"arrays.{name}: holds a value that is not finite or above {MAX_WEIGHT:g}")
    return arrays
