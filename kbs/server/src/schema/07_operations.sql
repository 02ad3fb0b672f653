-- The key of replicas' challenges is derived from the root now.
DROP TABLE challenge_key;

-- Whether the store takes writes: one row, written again by whoever looks.
CREATE TABLE writes (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    at INTEGER NOT NULL
) STRICT;
