CREATE DATABASE r; USE r;
CREATE TABLE p (id INT PRIMARY KEY, rank INT, groups INT, manual INT, KEY rank (rank));
ALTER TABLE p ADD lead INT, ADD INDEX groups (groups, rank), ADD UNIQUE KEY manual (manual);
INSERT INTO p VALUES (1,2,3,4,5);
CREATE VIEW v AS SELECT rank, p.groups FROM p ORDER BY rank;
ALTER TABLE p CHANGE manual cube INT, DROP INDEX rank;
