CREATE DATABASE n; USE n;
CREATE TABLE t (id INT PRIMARY KEY, serial VARCHAR(9), uuid CHAR(36), user INT, comment INT, start INT, transaction INT, import INT);
INSERT INTO t VALUES (1,'a','b',1,2,3,4,5);
ALTER TABLE t ADD UNIQUE KEY serial (serial), ADD INDEX uuid (uuid), ADD KEY user (user), ADD INDEX comment (comment);
ALTER TABLE t ADD rand INT DEFAULT 5 AFTER user, ADD (nextval INT, INDEX nextval (nextval)), ADD CONSTRAINT start UNIQUE KEY transaction (transaction);
CREATE INDEX import ON t (import);
ALTER TABLE t RENAME INDEX uuid TO connection_id, CHANGE serial serial VARCHAR(20), DROP COLUMN start;
INSERT INTO t VALUES (2,'c','d',1,7,2,3,4,6);
