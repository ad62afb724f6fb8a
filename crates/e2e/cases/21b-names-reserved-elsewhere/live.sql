CREATE DATABASE r; USE r;
CREATE TABLE p (id INT PRIMARY KEY, offset INT, slow INT, general INT, KEY offset (offset));
ALTER TABLE p ADD returning INT, ADD INDEX slow (slow, offset);
INSERT INTO p VALUES (1,2,3,4,5);
