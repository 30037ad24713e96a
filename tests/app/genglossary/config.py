"""The application's settings."""

import os


class Config:
    """Settings from the environment, read when the object is made."""

    def __init__(self) -> None:
        self.llm_debug: bool = os.environ.get("GENGLOSSARY_LLM_DEBUG", "") not in ("", "0")
