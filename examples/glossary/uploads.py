"""Uploaded files: how many there may be, and how large.

They are kept in memory for the length of their run; their names never reach the file system.
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
"""For all files of an upload together."""

# With room for the form around the files.
_MAX_BODY_BYTES = MAX_TOTAL_BYTES + (1 << 20)
_LONGEST_NAME = 500


@dataclass(frozen=True)
class UploadedFile:
    """A file as it was uploaded."""

    name: str
    """With the folders that the client gave, separated by slashes."""
    content: bytes


@dataclass(frozen=True)
class Upload:
    """The files of one request, as a source of documents."""

    sent: tuple[UploadedFile, ...]

    @property
    def name(self) -> str:
        """The file or folder that was chosen, or the number of files."""
        chosen = {file.name.split("/")[0] for file in self.sent}
        return chosen.pop() if len(chosen) == 1 else f"{len(self.sent):,} files"

    def files(self) -> Sequence[UploadedFile]:
        """As for `Folder.files`; the same files count as texts."""
        found = [file for file in self.sent if is_text_path(PurePosixPath(file.name))]
        if not found:
            raise UnreadableError(f"There are no text files ({', '.join(TEXT_SUFFIXES)}) among those sent")
        return sorted(found, key=lambda file: file.name)

    def read(self, file: UploadedFile) -> Document:
        """As for `Folder.read`."""
        return parse(file.name, file.content)


async def receive_upload(request: Request) -> Upload:
    """Receive the files of a `multipart/form-data` request.

    Raises:
        HTTPException: 411 without a length, 413 if too large, 415 if not a form, 422 without text files, 400 if
            malformed or with too many files.
    """
    headers = request.headers
    if not headers.get("content-type", "").startswith("multipart/form-data"):
        raise HTTPException(415, "Send files as multipart/form-data, or no body to read the folder")
    # Servers read no more than the announced length, unless the body is chunked.
    if "content-length" not in headers or "transfer-encoding" in headers:
        raise HTTPException(411, "Send files with a Content-Length")
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
    """The name that the client gave a file, as a relative path."""
    return name.replace("\\", "/").lstrip("/")[-_LONGEST_NAME:]
