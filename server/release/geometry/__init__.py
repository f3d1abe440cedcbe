"""Outlines of the world's regions by ISO 3166-2 code, and how they were made. See NOTICE.md."""
