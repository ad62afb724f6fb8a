-- How far a device's snapshot has come, GTIDs as a whole set, and pieces of values that are too large
-- for a message.

ALTER TABLE watermark
  -- MySQL's executed set, MariaDB's position.
  MODIFY COLUMN gtid MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
  -- MessagePack: [cursor of the snapshot that is under way or nil, runs that are refused meanwhile].
  ADD COLUMN snapshot BLOB NULL;

-- A value arrives in pieces before its row does, in the row's transaction or at its boundary; the shard
-- puts it together. Each piece is named by the position behind it.
CREATE TABLE IF NOT EXISTS piece (
  device_id VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  epoch INT UNSIGNED NOT NULL,
  file INT UNSIGNED NOT NULL,
  `offset` BIGINT UNSIGNED NOT NULL,
  part BIGINT UNSIGNED NOT NULL,
  data LONGBLOB NOT NULL,

  PRIMARY KEY (device_id, epoch, file, `offset`, part)
) ENGINE=InnoDB;
