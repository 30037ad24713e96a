"""Credentials in the texts that readers see: URLs, headers, parameters, settings, command lines, and their looks."""

import time

import pytest
from genglossary_runs import RunManager
from genglossary_runs.runner import Runner
from genglossary_runs.runner.redaction import client_message
from genglossary_runs.runner.secrets import redact

from .support import ended, raising

SECRET = "hunter2"

WITH_SECRETS = [
    "SECRET_KEY_BASE=hunter2",
    "password_for_backup: hunter2",
    "GOOGLE_CREDENTIALS_JSON='hunter2'",
    "https://api.example.com/v1?api_key=hunter2&page=2",
    "postgresql://svc:hunter2@db.internal:5432/prod",
    "postgres://svc:p/hunter2@db/prod",
    "postgres://svc:p@hunter2@db/prod",
    "https://hunter2@github.com/x",
    "redis://:hunter2@cache:6379/0",
    "amqp://a:hunter2@h1,amqp://c:hunter2@h2",
    "mysql svc:hunter2@tcp(127.0.0.1:3306)/db",
    "next=https%3A%2F%2Fuser%3Ahunter2%40host%2Fx&y=1",
    "https:\\/\\/user:hunter2@host",
    "{'api_key': 'hunter2', 'page': 2}",
    '{"password": "hunter2"}',
    '{\\"token\\": \\"hunter2\\", \\"a\\": 1}',
    '"{\\\\"token\\\\": \\\\"hunter2\\\\"}"',
    "Authorization: Bearer hunter2",
    "authorization: Basic hunter2\r\nHost: x",
    "Cookie: a=1; sid=hunter2",
    "Set-Cookie: x=hunter2; Path=/",
    "headers: {'Authorization': 'Bearer hunter2', 'X-Api-Key': 'hunter2'}",
    "[(b'authorization', b'Bearer hunter2'), (b'x-api-key', b'hunter2')]",
    "host=db port=5432 user=svc password=hunter2 dbname=prod",
    "Server=x;Database=y;User Id=z;Password=hunter2;Encrypt=1",
    "AccountName=a;AccountKey=hunter2==;EndpointSuffix=x",
    "Command '['curl', '--password', 'hunter2', 'x']' returned 1",
    "Command 'psql --password hunter2 db' failed",
    "mysql --password=hunter2 -h db",
    "curl -u svc:hunter2 https://x",
    "['curl', '-u', 'svc:hunter2']",
    "curl -u :hunter2 https://x",
    "curl --user=:hunter2 https://x",
    "X-Amz-Signature=hunter2&X-Amz-Date=3",
    "https://x.blob/y?sv=1&sig=hunter2",
    "https://maps?key=hunter2",
    "https://x/cb?code=hunter2&z=1",
    "AWS_SECRET_ACCESS_KEY=hunter2",
    "accessToken: 'hunter2'",
    "refresh_token=hunter2",
    "client_secret=hunter2",
    "<password>hunter2</password>",
    "PGPASSWORD=hunter2 psql",
    "access_token%3Dhunter2%26x%3D1",
    "token%253Dhunter2",
    "Invalid bearer hunter2",
    "proxy error for http://u:hunter2@proxy:80",
    "user[password]=hunter2",
    'params["token"] = "hunter2"',
    "api-key=hunter2",
    "API key: hunter2",
    "Proxy-Authorization: Basic hunter2",
    "password = 'hunter2'",
    "passwd:hunter2",
    "token => hunter2",
    "Settings(db_password='hunter2', x=1)",
    "Config(token=hunter2)",
    "password\n  Value error [type=value_error, input_value='hunter2', input_type=str]\n",
    "token=hunter2",
    "session_id=hunter2",
    "JSESSIONID=hunter2",
    "#access_token=hunter2&x",
    '"cookies": {"sid": "hunter2"}',
    'tokens: ok token=["hunter2"]',
    "auth=('svc', 'hunter2')",
    "Bearer  hunter2",
    "https://u:hunter2@[::1]:80/",
    "ftp://u:hunter2@h/p@th",
    "https://example.com/?q=1&Password=hunter2",
    "password=%68hunter2",
    "_authToken=hunter2",
    "//registry/:_password=hunter2",
    "DATABASE_URL=postgres://a:hunter2@b/c",
    "-----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY-----",
    "'password': b'hunter2'",
    "x-goog-api-key: hunter2",
    "ConnectionString: Server=a;Pwd=hunter2",
    "passwordHash=hunter2",
    "Ocp-Apim-Subscription-Key: hunter2",
    "grant?assertion=1&client_assertion=eyJhbGciOi.eyJzdWIi.hunter2",
    "sslpassword=hunter2",
    "secretOrPrivateKey=hunter2",
    "otp=hunter2",
    "login failed (user=svc, pass=hunter2)",
    "auth_token: hunter2, next",
    '"Authorization": ["Bearer hunter2"]',
    "username:svc,password:hunter2",
    "password='hunter2'",
    "mongodb+srv://u:hunter2@c.mongodb.net/?authSource=admin",
    "https://x-access-token:hunter2@github.com/a/b.git",
    "snowflake://u:hun%74hunter2@acc",
    "jdbc:postgresql://h/db?user=a&password=hunter2",
    "jdbc:oracle:thin:svc/hunter2@//db:1521",
    "{'token': 'it\\'s hunter2'}",
]

WITHOUT = [
    "I/O of 3/10 pages and/or lines, 5 km/h",
    "https://host/docs/page.html says 404",
    "max_tokens=4096 exceeds 2048",
    "Unexpected token < in JSON at position 0",
    "missing 1 required positional argument: 'api_key'",
    'password authentication failed for user "svc"',
    "in '/home/a user/my notes.txt' it stops",
    "https://medium.com/@user/post",
    "http://localhost:8080/x@y",
    "Basic authentication required",
    "Token expired",
    "primary_key=5",
    "author=bob, compass=3, passed=7, design=x",
    "'password'",
    "keyword: value",
    "key=7",
    "error code=5",
    "no data set named harvest",
    "monkey=1, turkey: 2",
    "Invalid API key provided",
    "https://host:443/path?page=2",
    "bob@example.com is unknown",
    "ratio 10:30",
    "token is None: token=None",
    "cannot read 12:30 x@y",
    "{'tokens': 512, 'author': 'x'}",
]


@pytest.mark.parametrize("text", WITH_SECRETS)
def test_the_secret_is_hidden(text: str) -> None:
    assert SECRET in text
    for shown in (
        redact(text),
        redact(f"It failed: {text}"),
        redact(f"{text}\nsecond line"),
        client_message(OSError(text)),
    ):
        assert SECRET not in shown
        assert "…" in shown


@pytest.mark.parametrize("text", WITHOUT)
def test_a_text_without_secrets_is_left_alone(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    "key",
    [
        "sk-proj-abcdefghijklmnop",
        "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
        "github_pat_11ABCDEFG0abcdefghij",
        "xoxb-123456789012-abcdef",
        "AKIAIOSFODNN7EXAMPLE",
        "AIzaSyA-abcdefghijklmnopqrstuvw",
        "glpat-abcdefghij0123456789",
        "hf_abcdefghijklmnopqrst",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc",
    ],
)
def test_a_key_is_known_by_its_looks(key: str) -> None:
    assert redact(f"Incorrect API key provided: {key}. Try another") == "Incorrect API key provided: …. Try another"


def test_what_stays_is_of_use() -> None:
    assert (
        redact("GET https://api.example.com/v1?api_key=hunter2&page=2")
        == "GET https://api.example.com/v1?api_key=…&page=2"
    )
    assert redact("postgresql://svc:hunter2@db:5432/prod") == "postgresql://…@db:5432/prod"
    assert redact('{"password": "hunter2", "user": "svc"}') == '{"password": "…", "user": "svc"}'
    assert redact("host=db password=hunter2 port=5432") == "host=db password=… port=5432"


def test_the_terminal_event_has_no_secret(runner: Runner) -> None:
    group = ExceptionGroup("tasks", [ConnectionError("redis://:hunter2@cache"), KeyError("token=hunter2")])
    run = ended(runner.start(raising(group)))
    assert run.error == "ConnectionError: redis://…@cache; KeyError: 'token=…'"


def test_a_long_traceback_kept_its_run_from_ending_for_minutes() -> None:
    words = "name: value " * 160_000
    begun = time.process_time()
    run = Runner(RunManager(), tracebacks=True).start(raising(ValueError(f"{words}the password=hunter2 is wrong")))
    ended(run)
    assert time.process_time() - begun < 10
    assert run.traceback is not None
    assert len(run.traceback) == 20_000
    assert run.traceback.endswith("name: value the password=… is wrong\n")


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "password",
        "a:",
        "%3a%2f%2f",
        "\\",
        "token\\",
        "--",
        "a@",
        "a:b",
        "'",
        "token: ",
        "token=(",
        "[(",
        "Bearer ",
        "a-",
        "a=",
        "a: b ",
        "sk-",
        "eyJ-",
        "?a=",
        "a\n",
        "input_value=",
        " ",
        "-u=",
        "-u==",
        "-u a:",
        "'-u', '",
    ],
)
def test_no_text_takes_long(piece: str) -> None:
    """The searches go over texts that others have made. What a word cost grew with the text around it."""
    text = (piece * 50_000)[:50_000]
    begun = time.process_time()
    redact(text)
    # The dearest takes less than a tenth of this.
    assert time.process_time() - begun < 1
