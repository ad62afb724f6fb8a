SET NAMES latin1; USE alt; CREATE TABLE `Prüfung` (id INT PRIMARY KEY, n VARCHAR(20) CHARACTER SET latin1 DEFAULT 'Übung' COMMENT 'Größe'); INSERT INTO `Prüfung` (id) VALUES (1); INSERT INTO Prüfung VALUES (2,'ä');
ALTER TABLE Prüfung ADD `Straße` ENUM('ä','ö'); UPDATE Prüfung SET `Straße`='ö'; UPDATE `Straße` SET `Größe`=2;
