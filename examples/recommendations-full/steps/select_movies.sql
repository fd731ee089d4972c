-- What movies are called, for the report.
INSERT OVERWRITE DIRECTORY :movies
ROW FORMAT DELIMITED FIELDS TERMINATED BY '\t'
SELECT movie_id, title
FROM movies
WHERE title IS NOT NULL
