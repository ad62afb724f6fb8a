-- Tables of a device whose rows others follow by a foreign key: what it does there may be in no log.

ALTER TABLE watermark
  -- MessagePack: [[database, table, columns that are referred to] ...].
  ADD COLUMN cascades MEDIUMBLOB NULL;
