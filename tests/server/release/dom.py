"""A page as a tree of elements, as far as tests need it: what is in what, and what a reader sees."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser

VOID = {"meta", "link", "input", "br"}


class Node:
    """An element with its attributes and its children, elements and texts."""

    def __init__(self, tag: str, attributes: dict[str, str], parent: Node | None) -> None:
        self.tag, self.attributes, self.parent = tag, attributes, parent
        self.children: list[Node | str] = []

    @property
    def classes(self) -> set[str]:
        return set(self.attributes.get("class", "").split())

    def walk(self) -> Iterator[Node]:
        for child in self.children:
            if isinstance(child, Node):
                yield child
                yield from child.walk()

    def all(self, tag: str = "", *, classes: str = "", **attributes: str) -> list[Node]:
        """Descendants with this tag, all these classes and these attributes."""
        return [node for node in self.walk() if node.tag == (tag or node.tag) and set(classes.split()) <= node.classes
                and all(node.attributes.get(name) == value for name, value in attributes.items())]

    def up(self, classes: str) -> Node | None:
        """The nearest element around this one that has these classes."""
        node = self.parent
        while node is not None and not set(classes.split()) <= node.classes:
            node = node.parent
        return node

    def text(self) -> str:
        """What a reader sees, white space folded."""
        parts = (child if isinstance(child, str) else "" if child.tag == "style" else child.text()
                 for child in self.children)
        return re.sub(r"\s+", " ", " ".join(parts)).strip()


class _Builder(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = self.at = Node("", {}, None)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, {name: value or "" for name, value in attrs}, self.at)
        self.at.children.append(node)
        if tag not in VOID:
            self.at = node

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.at.children.append(Node(tag, {name: value or "" for name, value in attrs}, self.at))

    def handle_endtag(self, tag: str) -> None:
        if self.at.tag != tag or self.at.parent is None:
            raise ValueError(f"</{tag}> closes <{self.at.tag}>")
        self.at = self.at.parent

    def handle_data(self, data: str) -> None:
        self.at.children.append(data)


def parse(page: bytes) -> Node:
    """The tree of a page.

    Raises:
        ValueError: if tags do not close as they open.
    """
    builder = _Builder()
    builder.feed(page.decode())
    builder.close()
    if builder.at is not builder.root:
        raise ValueError(f"<{builder.at.tag}> is not closed")
    return builder.root
