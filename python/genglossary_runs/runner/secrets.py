"""Finds credentials in texts that are shown to people who must not have them.

Each search takes time linear in the length of the text. Credentials get into messages through URLs (requests, httpx and
databases print them whole), printed headers, parameters and settings, and command lines. What a name says about
its value decides. When in doubt, too much is hidden.
"""

import re
from functools import lru_cache

HIDDEN = "…"


def redact(text: str) -> str:
    """The text with an ellipsis in place of each credential that can be recognized as one."""
    text = _PRIVATE_KEY.sub(HIDDEN, text)
    text = _URL.sub(_without_user_info, text)
    text = _ENCODED_USER_INFO.sub(rf"\g<before>{HIDDEN}\g<at>", text)
    text = _BARE_USER_INFO.sub(f"{HIDDEN}@", text)
    text = _USER_OPTION.sub(rf"\g<option>{HIDDEN}", text)
    text = _VALIDATED.sub(_without_input, text)
    text = _without_values(text)
    text = _SCHEME.sub(rf"\g<scheme> {HIDDEN}", text)
    return _KNOWN_KEY.sub(HIDDEN, text)


_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*-----|\Z)", re.DOTALL)

# User info


_URL = re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.-]{0,30}:\\*/\\*/)(?P<rest>[^\s\"'<>]+)", re.IGNORECASE)
# The same inside the query of another URL.
_ENCODED_USER_INFO = re.compile(
    r"(?P<before>%(?:25)*3a(?:%(?:25)*2f){2})[^\s\"'<>&]{0,300}(?P<at>%(?:25)*40)", re.IGNORECASE
)
# `user:password@host`, as many drivers have it.
_BARE_USER_INFO = re.compile(
    r"(?<![\w:/.%@-])[\w.%+-]{1,80}:(?!/)[^\s\"'<>]{1,200}@(?=[\w\[(])|(?<=:)[\w.]{1,80}/[^\s\"'<>@]{1,200}@(?=/)"
)
# `curl -u user:password`, also as a list of arguments. The user's length is bounded, and the equals signs are not tried
# as part of the user again: in `-u=-u=-u=…` each option would be searched to the end of the text.
_USER_OPTION = re.compile(
    r"(?P<option>(?<![\w-])(?:-u|-U|--user|--proxy-user)(?:['\"],\s*['\"]|[\s=]++))[^\s'\":]{0,200}:[^\s'\"]+"
)


def _without_user_info(url: re.Match[str]) -> str:
    scheme, rest = url["scheme"], url["rest"]
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    _, colon, port = authority.rpartition(":")
    # A password may hold what belongs into no URL, a slash for one: then what looks like the port is no number.
    odd = bool(colon) and not re.fullmatch(r"\d*|[\da-f:]*\]", port)
    if "@" in authority or (odd and "@" in rest):
        return f"{scheme}{HIDDEN}@{rest.rpartition('@')[2]}"
    if odd and url.end() == len(url.string):  # the text was cut
        return f"{scheme}{HIDDEN}"
    return url[0]


# Values of named parameters, headers, settings, options and fields


# How the names end, or what they contain, in lower case and without what stands between their words.
_SECRET_NAME = re.compile(
    r"""
    .*(?: password | passwd | passphrase | secret(?!ar) | apikey | privatekey | accesskey | credential ).*
    | (?: passwords? | passwd | passphrase | passcode | pwd | secrets? | token | authorization | cookies? | signature
        | credentials? | jwt | bearer | sess(?:ion)?id | connectionstring | webhookurl | securitycode | cvv | cvc
        | (?: api | access | secret | private | account | shared | subscription | encryption | signing | auth | master
            | client | session | storage | license | service | ssh | app | consumer | functions? | server
            | admin | deploy | webhook | project | write | user | code ) key )
    (?: value | hash | text | string | header | raw | plain | base64 | b64 | new | old | confirm(?:ation)? | v?\d+ )*
    """,
    re.VERBOSE,
)
# Short names that mean a secret before an equals sign, and those that do so only in the query of a URL.
_SHORT_NAMES = frozenset({"pass", "pw", "psw", "sig", "auth", "sid", "otp", "pin", "hmac", "session", "sas", "csrf"})
_QUERY_NAMES = _SHORT_NAMES | {"key", "code", "state", "hash", "nonce"}
# What is longer is no name but data, of which the end is looked at.
_LONGEST_NAME = 200
# Where the value goes on to the end of its line.
_LONG_VALUES = re.compile(r"(?:authorization|cookies?)$")

_WORD = re.compile(r"(?:(?:api|access|secret|private|account) key\b|[a-z_][\w.-]*)", re.IGNORECASE)
# What leads from a name to its value: an equals sign or a colon, after the quotes of JSON and Python (escaped, too);
# the comma between two quoted texts, as in pairs and in lists of arguments; the end of a tag.
_LINK = re.compile(
    r"""
    \\*["']?\]?\s* (?: (?P<colon>:(?!//)) | => | := | ={1,3} | (?P<encoded>%(?:25)*3[ad]) ) \s*
    | \\*["'],\s*(?=[bru]?\\*["'])
    | (?P<tag>>)(?=[^<\s])
    """,
    re.VERBOSE | re.IGNORECASE,
)
_OPTION_LINK = re.compile(r"[ \t]+(?=[^\s-])")
# What stands before a name in the query of a URL that is inside of another.
_ENCODED_QUERY = re.compile(r"%(?:25)*(?:26|3f)\Z", re.IGNORECASE)
_QUOTED = re.compile(
    r"(?P<open>[bru]?(?P<quote>\\*[\"']))(?P<value>.*?)(?:(?<!\\)(?P=quote)|\Z)", re.DOTALL | re.IGNORECASE
)
_REST_OF_LINE = re.compile(r"(?:(?!\\n|\\r)[^\r\n\"'])*")
_BARE = re.compile(r"(?:(?:bearer|basic|digest|token|apikey)\s+)?[^\s&;\"'<>]*", re.IGNORECASE)
_ENCODED = re.compile(r"(?:(?!%(?:25)*26)[^\s&\"'<>])*", re.IGNORECASE)
_BRACKET = re.compile(r"[\[\]{}()]")
_TAGGED = re.compile(r"[^<]*")
_NOTHING = frozenset({"", "none", "null", "undefined", HIDDEN})


def _without_values(text: str) -> str:
    kept, at = [], 0
    for word in _WORD.finditer(text):
        if word.start() < at:
            continue
        link = _LINK.match(text, word.end())
        if link is None and text.endswith("-", 0, word.start()):
            link = _OPTION_LINK.match(text, word.end())
        if link is None or not _hides(text, word, link):
            continue
        begin, end = _value(text, _squashed(word[0]), link)
        if text[begin:end].strip().lower() not in _NOTHING:
            kept += [text[at:begin], HIDDEN]
            at = end
    return "".join([*kept, text[at:]])


def _hides(text: str, word: re.Match[str], link: re.Match[str]) -> bool:
    name = _squashed(word[0])
    if _is_secret(name):
        return True
    if text.endswith(("?", "&"), 0, word.start()) or _ENCODED_QUERY.search(text, word.start() - 20, word.start()):
        return name in _QUERY_NAMES
    return name in _SHORT_NAMES and (link.groupdict()["colon"] is None or text[link.end() : link.end() + 1] in "'\"")


def _value(text: str, name: str, link: re.Match[str]) -> tuple[int, int]:
    """Where the value after `link` begins and ends."""
    begin = link.end()
    quoted = _QUOTED.match(text, begin)
    if quoted is not None:
        return quoted.span("value")
    if text[begin : begin + 1] in ("[", "{", "("):
        return begin, _closing(text, begin)
    kind = link.groupdict()
    if kind.get("tag"):
        pattern = _TAGGED
    elif kind.get("encoded"):
        pattern = _ENCODED
    elif kind.get("colon") or _LONG_VALUES.search(name):
        pattern = _REST_OF_LINE
    else:
        pattern = _BARE
    found = pattern.match(text, begin)
    end = begin if found is None else found.end()
    return begin, begin + len(text[begin:end].rstrip())


def _closing(text: str, begin: int) -> int:
    depth = 0
    for bracket in _BRACKET.finditer(text, begin):
        depth += 1 if bracket[0] in "[{(" else -1
        if depth == 0:
            return bracket.end()
    return len(text)


def _squashed(name: str) -> str:
    return re.sub(r"[\W_]", "", name[-_LONGEST_NAME:]).lower()


@lru_cache(maxsize=1024)
def _is_secret(squashed: str) -> bool:
    return any(found.end() == len(squashed) for found in _SECRET_NAME.finditer(squashed))


# pydantic: the field's name is on the line before its value.
_VALIDATED = re.compile(
    r"(?<![\w.-])(?P<field>[\w.-]+)\n(?P<before>[^\n]*\binput_value=)[^\n]*?(?=, input_type=|$)", re.MULTILINE
)


def _without_input(match: re.Match[str]) -> str:
    if not _is_secret(_squashed(match["field"])):
        return match[0]
    return f"{match['field']}\n{match['before']}{HIDDEN}"


# Credentials by their looks


# What stands before a credential in an `Authorization` header; sentences begin with these words as well.
_SCHEME = re.compile(
    r"""
    \b (?P<scheme> bearer (?!\s+(?:tokens?|auth\w*|scheme|realm|is|was|not|errors?|in|for|and|or|can\w*)\b)
        | (?:basic|digest|negotiate|ntlm|token|apikey|api-key) (?=\s+[^\s"'<>,;]*[\d=/+_~]) )
    \s+ [^\s"'<>,;]{3,}
    """,
    re.VERBOSE | re.IGNORECASE,
)
_KNOWN_KEY = re.compile(
    r"""
    \b(?: (?:sk|pk|rk)[-_][\w-]{12,} | gh[opusr]_\w{16,} | github_pat_\w{16,} | glpat-[\w-]{12,}
        | (?:hf|gsk|npm)_\w{16,}
        | xox[a-z]-[\w-]{8,} | (?:AKIA|ASIA)[A-Z0-9]{12,} | AIza[\w-]{20,} | ya29\.[\w-]{8,} | pypi-\w{20,}
        | eyJ[\w-]{5,}(?:\.[\w-]+){0,2} )
    | (?<=hooks\.slack\.com/services/)[\w/]+
    | (?<=/bot)\d{5,}:[\w-]{10,}
    """,
    re.VERBOSE,
)
