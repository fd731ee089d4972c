-- The tables as they are at their locations, which export_tables.py has filled. An external table takes nothing with it when
-- it goes.
DROP TABLE IF EXISTS ratings;

CREATE EXTERNAL TABLE ratings (user_id INT, movie_id INT, rating DOUBLE, rated_at BIGINT)
ROW FORMAT DELIMITED FIELDS TERMINATED BY '\t'
STORED AS TEXTFILE
LOCATION :ratings;

DROP TABLE IF EXISTS movies;

CREATE EXTERNAL TABLE movies (movie_id INT, title STRING, genres STRING)
ROW FORMAT DELIMITED FIELDS TERMINATED BY '\t'
STORED AS TEXTFILE
LOCATION :movies;

SELECT rated.ratings, known.movies
FROM (SELECT count(*) AS ratings FROM ratings) rated
CROSS JOIN (SELECT count(*) AS movies FROM movies) known
