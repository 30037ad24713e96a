"""A web application that makes glossaries of text files in runs: `python -m glossary`."""
