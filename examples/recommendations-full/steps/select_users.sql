-- getUsers: the cohort, which is all users who gave enough ratings, and what they rated; written to the run's storage.
INSERT OVERWRITE DIRECTORY :cohort
ROW FORMAT DELIMITED FIELDS TERMINATED BY ','
SELECT ratings.user_id, ratings.movie_id, ratings.rating
FROM ratings
JOIN (
    SELECT user_id
    FROM ratings
    GROUP BY user_id
    HAVING count(*) >= CAST(:min_ratings AS INT)
) active ON ratings.user_id = active.user_id;

-- What movies are called, for the report.
INSERT OVERWRITE DIRECTORY :movies
ROW FORMAT DELIMITED FIELDS TERMINATED BY '\t'
SELECT movie_id, title
FROM movies
WHERE title IS NOT NULL;

-- How large the cohort is, as Hive counts it: the steps that follow must find as much.
SELECT
    count(DISTINCT ratings.user_id) AS users,
    count(DISTINCT ratings.movie_id) AS movies,
    count(*) AS ratings
FROM ratings
JOIN (
    SELECT user_id
    FROM ratings
    GROUP BY user_id
    HAVING count(*) >= CAST(:min_ratings AS INT)
) active ON ratings.user_id = active.user_id
