-- The offset of the last record applied: transaction markers and aborted or compacted records may follow it in the log, so
-- it is not always the one before next_offset. Where it was not written yet, it is.
ALTER TABLE checkpoints
    ADD COLUMN IF NOT EXISTS last_offset Int64 DEFAULT toInt64(next_offset) - 1
    COMMENT 'offset of the last record applied in this epoch; -1: none' AFTER next_offset;
