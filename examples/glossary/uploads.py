"""Files that a page sends to be read: how many and how large they may be.

They are kept in memory, and only for their run; their names never reach the file system.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from fastapi import HTTPException, Request
from starlette.datastructures import UploadFile

from glossary.documents import (
    MAX_BYTES,
    TEXT_SUFFIXES,
    Document,
    UnreadableError,
    is_text_path,
    parse,
)
from glossary.refusals import Refusal

MAX_FILES = 1000
MAX_TOTAL_BYTES = 32 << 20
"""Of all files of an upload together."""

# For what a form puts around the files.
_MAX_BODY_BYTES = MAX_TOTAL_BYTES + (1 << 20)
_LONGEST_NAME = 500


@dataclass(frozen=True)
class UploadedFile:
    """A file as it was sent."""

    name: str
    """With the folders that the sender gave, separated by slashes."""
    content: bytes


@dataclass(frozen=True)
class Upload:
    """The files of one request, as a source of texts."""

    sent: tuple[UploadedFile, ...]

    @property
    def name(self) -> str:
        """The one file or folder that was chosen, or how many files."""
        chosen = {file.name.split("/")[0] for file in self.sent}
        return chosen.pop() if len(chosen) == 1 else f"{len(self.sent):,} files"

    def files(self) -> Sequence[UploadedFile]:
        """As for `Folder.files`; the same files are texts."""
        found = [file for file in self.sent if is_text_path(PurePosixPath(file.name))]
        if not found:
            raise UnreadableError(f"There are no text files ({', '.join(TEXT_SUFFIXES)}) among those sent")
        return sorted(found, key=lambda file: file.name)

    def read(self, file: UploadedFile) -> Document:
        """As for `Folder.read`."""
        return parse(file.name, file.content)


async def receive_upload(request: Request) -> Upload:
    """Take in the files of a `multipart/form-data` request.

    Raises:
        HTTPException: 411, 413, 415, 422 or 400, with the reason: its length is unknown, it is too large, is no form,
            has no text files, or is malformed or of too many files.
    """
    headers = request.headers
    if not headers.get("content-type", "").startswith("multipart/form-data"):
        raise HTTPException(415, "Files are to be sent as multipart/form-data; without a body the folder is read")
    # Servers read no more than the announced length, unless the body comes in chunks.
    if "content-length" not in headers or "transfer-encoding" in headers:
        raise HTTPException(411, "Files are to be sent with a Content-Length")
    if int(headers["content-length"]) > _MAX_BODY_BYTES:
        raise _too_large()
    async with request.form(max_files=MAX_FILES, max_fields=0) as form:
        files = [file for _, file in form.multi_items() if isinstance(file, UploadFile)]
        for file in files:
            if (file.size or 0) > MAX_BYTES:
                why = f"{_name(file)} is larger than {MAX_BYTES >> 20} MiB"
                raise Refusal(413, why, "too_large", name=_name(file), most=MAX_BYTES)
        if sum(file.size or 0 for file in files) > MAX_TOTAL_BYTES:
            raise _too_large()
        upload = Upload(tuple([UploadedFile(_name(file), await file.read()) for file in files]))
    try:
        upload.files()
    except UnreadableError as error:
        raise Refusal(422, str(error), "no_texts", text_suffixes=TEXT_SUFFIXES) from error
    return upload


def _too_large() -> Refusal:
    why = f"The files are larger than {MAX_TOTAL_BYTES >> 20} MiB together"
    return Refusal(413, why, "too_large_together", most=MAX_TOTAL_BYTES)


def _name(file: UploadFile) -> str:
    return clean_name(file.filename or "")


def clean_name(name: str) -> str:
    """A file's name as its sender gave it, as a path below what was sent."""
    return name.replace("\\", "/").lstrip("/")[-_LONGEST_NAME:]
