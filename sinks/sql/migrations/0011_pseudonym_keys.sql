-- Which key the students' pseudonyms are made with. A worker with another key would make somebody else of every student, so
-- each compares before it writes.
--
-- Two first workers may write at the same moment. Both give the generation as the insert's token, and the server keeps the
-- first: the window of deduplication is what settles it.
CREATE TABLE IF NOT EXISTS pseudonym_keys
(
    generation  UInt32                COMMENT 'counts the keys of this database from 1; the highest one is in use',
    fingerprint FixedString(64)       COMMENT 'HMAC-SHA256 of a fixed text under the key, in hexadecimal: it tells keys apart and reveals none',
    worker      String                COMMENT 'the worker that brought the key',
    recorded_at DateTime64(3, 'UTC')  DEFAULT now64(3) COMMENT 'when'
)
ENGINE = MergeTree
ORDER BY generation
SETTINGS non_replicated_deduplication_window = 100
COMMENT 'Which key the pseudonyms of students are made with, as fingerprints';
