-- What stands in a device's log before the place where reading goes on.

ALTER TABLE watermark
  -- MessagePack: [file, begin, end, CRC32]; see `anchor` in schemas/wire/batch.md.
  ADD COLUMN anchor VARBINARY(64) NULL;
