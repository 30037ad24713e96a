-- Results, which may be large, have a table of their own: a list reads records without walking over them.
ALTER TABLE runs ADD COLUMN result_kind TEXT;
CREATE TABLE results (
    fence INTEGER PRIMARY KEY,
    json TEXT NOT NULL
) STRICT;
UPDATE runs SET result_kind = result_kind(result) WHERE result IS NOT NULL;
INSERT INTO results SELECT fence, result FROM runs WHERE result_kind IS NOT NULL;
ALTER TABLE runs DROP COLUMN result;
