-- What people call a run; unknown of older runs.
ALTER TABLE runs ADD COLUMN name TEXT;
