"""The words: which notification types there are, whether a payload fits one, and what it reads like.

```python
words = Words([Path("templates")])
words.check("order_shipped", data)
rendered = words.render(
    "order_shipped", "email", locale="de-AT", time_zone="Europe/Vienna", data=data, user={"name": "Ada"}, app={}
)
```
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from backroom.domain.notification import NotificationType
from backroom.words.near import unknown
from backroom.words.payload import Payload
from backroom.words.reader import reader_of
from backroom.words.render import Rendered, Renderer
from backroom.words.shelf import Folder, read_shelf

__all__ = ["Rendered", "Words"]


class Words:
    """Every notification type of every root, read once.

    Args:
        roots: Folders that hold one folder per type. A folder whose name starts with `_` is not a type: it holds what
            several types share. Two roots may not hold a file of the same name, so that none hides another's words.

    Raises:
        Invalid: A type is not whole: which file, which key, what would be right.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self._folders: Mapping[str, Folder] = read_shelf(roots)
        self._payloads = {name: Payload(folder.type.schema) for name, folder in self._folders.items()}
        self._renderer = Renderer(roots)
        self.types: Mapping[str, NotificationType] = MappingProxyType(
            {name: folder.type for name, folder in self._folders.items()}
        )

    def check(self, type: str, data: object) -> None:
        """Say whether a payload fits its type.

        Raises:
            Invalid: There is no such type (field `/type`), or a field of the payload is wrong (field `/data/...`).
        """
        self._folder(type)
        self._payloads[type].check(data, at="/data")

    def locales(self, type: str, medium: str) -> tuple[str, ...]:
        """The locales a type is written in over one medium, the default first.

        Raises:
            Invalid: There is no such type, or it does not appear over that medium.
        """
        return tuple(self._files(type, medium))

    def render(
        self,
        type: str,
        medium: str,
        *,
        locale: str,
        time_zone: str,
        data: Mapping[str, Any],
        user: Mapping[str, Any],
        app: Mapping[str, Any],
    ) -> Rendered:
        """Write one letter.

        Args:
            type: The notification's type.
            medium: Which of its mediums.
            locale: The reader's locale as a BCP 47 tag; the nearest that the type is written in is used.
            time_zone: The reader's IANA time zone; UTC where it is not known.
            data: The payload: its fields are the template's variables.
            user: What the template sees as `user`: `id`, `name` (may be empty) and `locale`.
            app: What the template sees as `app`: `name`.

        Raises:
            Invalid: There is no such type, or it does not appear over that medium.
            TemplateFailed: The template could not be rendered: which file, line and variable.
        """
        reader = reader_of(locale, time_zone, written=self._files(type, medium))
        variables = {
            **data,
            "user": {"id": "", "name": "", "locale": reader.tag, **user},
            "app": {"name": "", **app},
        }
        return self._renderer.render(
            self._files(type, medium)[reader.written], medium, reader=reader, variables=variables
        )

    def _folder(self, type: str) -> Folder:
        if type not in self._folders:
            raise unknown("/type", "notification type", type, self._folders)
        return self._folders[type]

    def _files(self, type: str, medium: str) -> Mapping[str, str]:
        files = self._folder(type).files
        if medium not in files:
            raise unknown("/channel", "channel of this notification type", medium, files)
        return files[medium]
