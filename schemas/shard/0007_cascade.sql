-- Tables of a device whose rows others follow by a foreign key: what it does there may be in no log.

ALTER TABLE watermark
  -- MessagePack: [[[database, table, columns that are referred to, whether rows follow a delete] ...],
  -- a table with several such keys at a MySQL shard, or nil].
  ADD COLUMN cascades MEDIUMBLOB NULL;
