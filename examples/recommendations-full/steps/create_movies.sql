-- The movies as they are at the location, which export_tables.py has filled.
CREATE EXTERNAL TABLE IF NOT EXISTS movies (movie_id INT, title STRING, genres STRING)
ROW FORMAT DELIMITED FIELDS TERMINATED BY '\t'
STORED AS TEXTFILE
LOCATION :location
