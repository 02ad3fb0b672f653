-- The tables of 07_operations.sql for PostgreSQL.
DROP TABLE challenge_key;

CREATE TABLE writes (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    at BIGINT NOT NULL
);
