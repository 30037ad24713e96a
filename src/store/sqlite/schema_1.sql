-- A fence is the name of one life of a run. `last` is the newest event published, as far as the owner could tell.
CREATE TABLE clock (
    last_fence INTEGER NOT NULL,
    last_run_id INTEGER NOT NULL
) STRICT;
INSERT INTO clock VALUES (0, 0);

CREATE TABLE runs (
    fence INTEGER PRIMARY KEY,
    run_id ANY NOT NULL,
    key TEXT,
    status TEXT NOT NULL,
    owner TEXT NOT NULL,
    started INTEGER NOT NULL,
    finished INTEGER,
    error TEXT,
    result TEXT,
    last INTEGER NOT NULL DEFAULT 0,
    end_fence INTEGER,
    superseded INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX runs_by_id ON runs (run_id, fence);
CREATE INDEX runs_by_end ON runs (finished) WHERE finished IS NOT NULL;
CREATE UNIQUE INDEX active_runs ON runs (run_id) WHERE status = 'running';
CREATE UNIQUE INDEX active_keys ON runs (key) WHERE status = 'running' AND key IS NOT NULL;

CREATE TABLE events (
    fence INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    name TEXT,
    json TEXT NOT NULL,
    PRIMARY KEY (fence, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE commands (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    fence INTEGER NOT NULL,
    sent INTEGER NOT NULL,
    kind TEXT NOT NULL,
    name TEXT,
    json TEXT,
    replied INTEGER NOT NULL DEFAULT 0,
    reply TEXT
) STRICT;
