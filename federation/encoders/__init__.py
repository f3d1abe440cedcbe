"""Frozen text encoders behind one small protocol; `federation.encoders.cache` keeps their work."""

from federation.encoders.base import Encoder, language_covered, load_encoder

__all__ = ["Encoder", "language_covered", "load_encoder"]
