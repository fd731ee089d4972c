-- The ratings as they are at the location, which export_tables.py has filled.
CREATE EXTERNAL TABLE IF NOT EXISTS ratings (user_id INT, movie_id INT, rating DOUBLE, rated_at BIGINT)
ROW FORMAT DELIMITED FIELDS TERMINATED BY '\t'
STORED AS TEXTFILE
LOCATION :location
