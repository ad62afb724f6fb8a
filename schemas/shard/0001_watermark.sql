-- What a shard knows about the devices whose data it holds. The row of a device is the only truth
-- about its progress: it is locked and moved in the transaction that writes the device's rows.

CREATE TABLE IF NOT EXISTS watermark (
  device_id VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,

  -- The source position up to which everything is applied.
  epoch INT UNSIGNED NOT NULL,
  file INT UNSIGNED NOT NULL,
  `offset` BIGINT UNSIGNED NOT NULL,
  part BIGINT UNSIGNED NOT NULL,

  -- Where a reader of the binlog has to restart to go on from there; its part is 0.
  resume_epoch INT UNSIGNED NOT NULL,
  resume_file INT UNSIGNED NOT NULL,
  resume_offset BIGINT UNSIGNED NOT NULL,
  gtid VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,

  -- The MySQL server that the position belongs to, and the publisher's run that brought it here.
  source VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  run BIGINT UNSIGNED NOT NULL,

  -- Commit time at the source of the newest transaction applied, microseconds since 1970; 0 is none.
  commit_time_us BIGINT NOT NULL,
  applied_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),

  -- Grows with every DDL statement of the device, so that a worker knows when its picture of the
  -- device's tables is old.
  shape_generation BIGINT UNSIGNED NOT NULL DEFAULT 0,

  -- A DDL statement that was begun: its position, and what its objects looked like before it.
  intent_epoch INT UNSIGNED NULL,
  intent_file INT UNSIGNED NULL,
  intent_offset BIGINT UNSIGNED NULL,
  intent_part BIGINT UNSIGNED NULL,
  intent_fingerprint MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,

  -- Why the device is stopped here, if it is, and what has to be done about it.
  parked_reason TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
  parked_remedy TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
  parked_at TIMESTAMP(6) NULL DEFAULT NULL,

  PRIMARY KEY (device_id)
) ENGINE=InnoDB;
