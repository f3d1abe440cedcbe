"""A reply under its partner's signature, bound to the very question that it answers.

Flower signs the time at which a message is sent and not the message, so whoever stands between a node and the
coordinator could put another reply in its place. The signature covers the plan, the action, the round and the nonce of
the request, the code, the partner's name, and the hash of what the reply holds: it fits no other question, not even the
same one asked again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from federation.canonical import canonical_json, sha256_hex
from federation.identity import SigningKey, verify
from federation.messages import Reply, Request, reply_bytes

_PURPOSE: Final = "reply"


def sign_reply(reply: Reply, request: Request, action: str, key: SigningKey) -> Reply:
    """`reply` with a signature.

    Args:
        reply: as it will leave.
        request: that it answers.
        action: the message type under which that came.
        key: the partner's identity.

    Raises:
        ValueError: if the request's round is beyond what canonical JSON can hold.
    """
    return replace(reply, signature=key.sign(_PURPOSE, _statement(reply, request, action)))


def is_signed(reply: Reply, request: Request, action: str, public: str) -> bool:
    """Whether `public` signed this reply to this request. Malformed input is False."""
    try:
        return verify(public, _PURPOSE, _statement(reply, request, action), reply.signature)
    except ValueError:
        return False


def _statement(reply: Reply, request: Request, action: str) -> bytes:
    return canonical_json({
        "plan_sha256": request.plan_sha256, "action": action, "round": request.round_number, "nonce": request.nonce,
        "code": reply.code, "partner": reply.partner, "holds_sha256": sha256_hex(reply_bytes(reply))})
